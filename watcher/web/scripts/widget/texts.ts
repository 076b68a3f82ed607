// The widget's own words, from the files that hold all texts for payers.
import de from "../../languages/de/widget.json";
import en from "../../languages/en/widget.json";
import es from "../../languages/es/widget.json";
import fr from "../../languages/fr/widget.json";
import ja from "../../languages/ja/widget.json";
import pt from "../../languages/pt/widget.json";

const LANGUAGES = new Map(Object.entries({ de, en, es, fr, ja, pt }));

/** Return the words of the first of some language tags that there are words in; English as the last resort. */
export function textsFor(...tags: (string | null | undefined)[]): { language: string; texts: typeof en } {
  for (const tag of [...tags, ...(navigator.languages ?? [])]) {
    const language = tag?.toLowerCase().split("-")[0];
    const texts = LANGUAGES.get(language ?? "");
    if (language && texts) return { language, texts };
  }
  return { language: "en", texts: en };
}
