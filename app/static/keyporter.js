"use strict";

function select(element) {
  if (element.select) {
    element.select();
    return;
  }
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
}

function copy(button) {
  const box = button.closest(".copyable, .beside");
  const value = box.querySelector("[data-value]");
  const note = box.querySelector(".copied");
  const fail = () => {
    select(value);
    note.textContent = button.dataset.failed;
  };
  note.textContent = "";
  if (!navigator.clipboard) {
    window.setTimeout(fail, 50);
    return;
  }
  navigator.clipboard.writeText(value.value ?? value.textContent).then(() => {
    note.textContent = button.dataset.done;
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

// What is wrong with an ID or a secret while somebody types it. The server says the same once the form is sent.

function say(input, text) {
  let note = document.getElementById(`${input.id}-live`);
  if (!note) {
    note = document.createElement("span");
    note.id = `${input.id}-live`;
    note.className = "error";
    note.setAttribute("aria-live", "polite");
    (input.closest(".beside") || input).after(note);
    input.setAttribute("aria-describedby", `${input.getAttribute("aria-describedby") || ""} ${note.id}`.trim());
  }
  const earlier = document.getElementById(`${input.id}-error`);
  if (earlier) earlier.hidden = true;
  note.textContent = text;
  input.setAttribute("aria-invalid", String(text !== ""));
}

function problemOfSecret(input) {
  const { least, most, short, long, odd, same } = input.dataset;
  const secret = input.value.trim();
  const id = document.getElementById("client_id");
  if (/[^A-Za-z0-9._~-]/.test(secret)) return odd;
  if (secret.length < Number(least)) return short;
  if (secret.length > Number(most)) return long;
  return id && id.value.trim() === secret ? same : "";
}

function watchId(input) {
  let waiting;
  input.addEventListener("input", () => {
    window.clearTimeout(waiting);
    waiting = window.setTimeout(async () => {
      const asked = input.value;
      const address = new URL(input.dataset.check, location.href);
      address.searchParams.set("client_id", asked);
      try {
        const answer = await fetch(address, { headers: { Accept: "application/json" } });
        const { message } = await answer.json();
        if (input.value === asked) say(input, message);
      } catch {
        // Offline, or signed out: the form will say it.
      }
    }, 300);
  });
}

for (const input of document.querySelectorAll("[data-check]")) watchId(input);
for (const input of document.querySelectorAll("[data-odd]")) {
  input.addEventListener("input", () => say(input, problemOfSecret(input)));
}

// The hint of a time: when it is where the reader is, then UTC, which the server wrote.

for (const time of document.querySelectorAll("time[datetime][title]")) {
  const local = new Date(time.dateTime).toLocaleString(document.documentElement.lang, {
    dateStyle: "long",
    timeStyle: "short",
  });
  time.title = `${local} (${time.title})`;
}

// A date chooses the choice that it goes with.

for (const input of document.querySelectorAll("[data-goes-with]")) {
  input.addEventListener("input", () => {
    const choice = input.form.querySelector(`[type=radio][value="${input.dataset.goesWith}"]`);
    if (choice && input.value) choice.checked = true;
  });
}

// The text of a file is in the page: nothing is asked of the server, which has forgotten the secret.

for (const button of document.querySelectorAll("[data-download]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const text = button.closest(".file").querySelector("[data-value]").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: button.dataset.kind }));
    link.download = button.dataset.download;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
}

// One language at a time, the same one on every page; without a script they stand below each other.

const LANGUAGE = "language of snippets";

function remembered() {
  try {
    return localStorage.getItem(LANGUAGE);
  } catch {
    return null;
  }
}

function makeTabs(box, number) {
  const panels = [...box.querySelectorAll(":scope > section")];
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", box.dataset.tabs);
  const show = (shown) => {
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === shown));
      tab.tabIndex = index === shown ? 0 : -1;
      panels[index].hidden = index !== shown;
    });
  };
  const tabs = panels.map((panel, index) => {
    const heading = panel.querySelector("h3, h4");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${number}-${index}`;
    tab.textContent = heading.textContent;
    tab.setAttribute("role", "tab");
    heading.hidden = true;
    panel.id ||= `panel-${number}-${index}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.setAttribute("aria-controls", panel.id);
    tab.addEventListener("click", () => {
      show(index);
      try {
        localStorage.setItem(LANGUAGE, tab.textContent);
      } catch {
        // A browser that keeps nothing.
      }
    });
    return tab;
  });
  list.addEventListener("keydown", (event) => {
    const from = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    tab.click();
  });
  list.append(...tabs);
  box.prepend(list);
  show(Math.max(0, tabs.findIndex((tab) => tab.textContent === remembered())));
}

document.querySelectorAll("[data-tabs]").forEach(makeTabs);

// A second click that was meant for the page before decides nothing: for so many milliseconds the button does nothing.

for (const button of document.querySelectorAll("[data-waits]")) {
  button.setAttribute("aria-disabled", "true");
  button.addEventListener("click", (event) => {
    if (button.hasAttribute("aria-disabled")) event.preventDefault();
  });
  window.setTimeout(() => button.removeAttribute("aria-disabled"), Number(button.dataset.waits));
}

const summary = document.querySelector("[data-focus]");
if (summary) {
  summary.focus();
}
