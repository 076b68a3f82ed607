// Times in the payer's own time and way of writing: <time datetime="…Z">2026-11-20 12:03 UTC</time>.

/** Write every time of the page in the time zone of this machine. */
export function showLocalTimes(): void {
  const form = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const element of document.querySelectorAll("time")) {
    const text = form.format(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}
