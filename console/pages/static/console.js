// What the pages do in the browser: times in the viewer's zone, and live updates.
"use strict";

const FORMS = {
  full: { dateStyle: "medium", timeStyle: "medium" },
  moment: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  minute: { hour: "2-digit", minute: "2-digit" },
  hour: { hour: "2-digit" },
};

function showTimes(root) {
  for (const one of root.querySelectorAll("[data-at]")) {
    const at = new Date(Number(one.dataset.at));
    const form = one.dataset.form || "full";
    const text = new Intl.DateTimeFormat("en-GB", FORMS[form]).format(at);
    if (form === "full") {
      one.title = at.toISOString().replace("T", " ").replace("Z", " UTC");
    }
    one.textContent = text;
  }
}

function listen() {
  if (!document.querySelector("[data-live]")) return;
  const state = document.getElementById("live-state");
  const source = new EventSource("/live");
  source.addEventListener("open", () => { state.textContent = "Live"; });
  source.addEventListener("changed", () => document.body.dispatchEvent(new Event("live")));
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED;
    state.textContent = closed ? "Not live; reload the page" : "Reconnecting";
  };
}

// "Select all" selects what is there, and is selected while all of it is: a live page may add to it.
function showAllSelected() {
  const every = document.getElementById("select-all");
  const causes = [...document.querySelectorAll("input[name=cause]")];
  if (every) every.checked = causes.length > 0 && causes.every((one) => one.checked);
}

document.addEventListener("change", (event) => {
  if (event.target.id === "select-all") {
    for (const one of document.querySelectorAll("input[name=cause]")) one.checked = event.target.checked;
  } else if (event.target.name === "cause") {
    showAllSelected();
  }
});

document.addEventListener("DOMContentLoaded", () => {
  showTimes(document);
  listen();
  const zone = document.getElementById("zone");
  if (zone) zone.textContent = `Times are in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
  for (const one of document.querySelectorAll("form[data-auto] select")) {
    one.addEventListener("change", () => one.form.requestSubmit());
  }
});
document.addEventListener("htmx:load", (event) => showTimes(event.detail.elt.parentElement || document));
document.addEventListener("htmx:afterSettle", showAllSelected);
