// Buttons that copy: <button class="copy" data-copy="what" data-done="Copied" hidden><span>Copy</span></button>.
// What was done is said in the element with the id "said", too.

/** Show the buttons, where the browser lets a page write to the clipboard. */
export function showCopyButtons(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button.copy")) {
    button.hidden = !navigator.clipboard;
  }
}

/** Let every copy button of the page work, also those that come later. */
export function watchCopyButtons(): void {
  document.addEventListener("click", (event) => {
    const button = (event.target as Element).closest<HTMLButtonElement>("button.copy");
    if (button) void copy(button);
  });
}

async function copy(button: HTMLButtonElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(button.dataset.copy!);
  } catch {
    // Refused, as in frames: select the text instead, for the person to copy.
    const text = button.parentElement!.querySelector("code");
    if (text) getSelection()?.selectAllChildren(text);
    return;
  }
  say(button, button.dataset.done!);
}

function say(button: HTMLButtonElement, done: string): void {
  const word = button.firstElementChild!;
  const before = word.textContent;
  if (before === done) return;
  const said = document.getElementById("said");
  word.textContent = done;
  if (said) said.textContent = done;
  setTimeout(() => {
    word.textContent = before;
    if (said) said.textContent = "";
  }, 2000);
}
