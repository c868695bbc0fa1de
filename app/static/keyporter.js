"use strict";

const COPY_FAILED = "Could not copy. The text is selected: press Ctrl+C.";

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

function copy(button) {
  const box = button.closest(".copyable");
  const value = box.querySelector("[data-value]");
  const note = box.querySelector(".copied");
  const fail = () => {
    select(value);
    note.textContent = COPY_FAILED;
  };
  note.textContent = "";
  if (!navigator.clipboard) {
    window.setTimeout(fail, 50);
    return;
  }
  navigator.clipboard.writeText(value.textContent).then(() => {
    note.textContent = "Copied.";
  }, fail);
}

function showPassword(button) {
  const input = document.getElementById(button.dataset.shows);
  const hidden = input.type === "password";
  input.type = hidden ? "text" : "password";
  button.setAttribute("aria-pressed", String(hidden));
}

for (const button of document.querySelectorAll("[data-copy], [data-shows]")) {
  button.hidden = false;
  button.addEventListener("click", () => ("shows" in button.dataset ? showPassword(button) : copy(button)));
}

const summary = document.querySelector("[data-focus]");
if (summary) {
  summary.focus();
}
