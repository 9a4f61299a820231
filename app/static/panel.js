/* A panel of the data page: HTML from the server whose buttons and fields tell the server what a person did.

   luthierPanel(element, trigger, watch) is called by the gr.HTML components of app/data/panel.py.
   <button data-do="exclude" data-row="17">       a press sends {do: "exclude", row: "17", fields: {...}}
   <select name="split" data-change="filter">     a change sends {do: "filter", fields: {...}}
   <input name="search" data-enter="search">      the Enter key sends {do: "search", fields: {...}}
   `fields` are the named fields of the nearest [data-form], whose own data- attributes are sent as well. What had the
   focus, what was unfolded and what is typed under [data-draft] survives a redraw, until its field is gone or a button
   with data-settles was pressed.
   <input type="file" name="marks" data-file="import">   a chosen file sends {do: "import", fields: {marks: {name, text}}}
   <button data-again="150">                      presses itself so many milliseconds after it was drawn, unless it is gone by then
   <button data-shortcut="s">                     the key clicks it while it is to be seen and no text is being typed
   <input data-remember="annotator">              an empty one is filled with what was last typed there in this browser
   <div data-form data-fresh="17">                Gradio keeps the fields of a redrawn panel with what is typed in them; when this
                                                  mark is another than before they take the values that the server gives them
   This script may come after what the panel shows; until it hears (`data-hears`) nothing of it can be seen or pressed. */
(() => {
  "use strict";
  const PATIENCE_MS = 8000;
  const TOAST = "[data-testid=toast-body]";

  const valueOf = (field) => {
    if (field.type === "checkbox") return field.checked;
    if (field.multiple) return [...field.selectedOptions].map((option) => option.value);
    return field.value;
  };

  const told = (source, action) => {
    const form = source.closest("[data-form]");
    const { change, enter, file, key, form: mark, ...data } = { ...(form ? form.dataset : {}), ...source.dataset };
    const fields = {};
    for (const field of form ? form.querySelectorAll("[name]") : []) {
      if (field.type !== "radio") fields[field.name] = valueOf(field);
      else if (field.checked) fields[field.name] = field.value;
    }
    return { ...data, do: action, fields };
  };

  const isTyping = (target) => target.closest("textarea, select, input:not([type=radio]):not([type=checkbox])");

  const pressShortcut = (element, event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target)) return;
    if (event.key === "Enter" && event.target.closest("button, a, summary")) return;
    const wanted = event.key.toLowerCase();
    const found = [...element.querySelectorAll("[data-shortcut]")].find(
      (each) => each.dataset.shortcut.toLowerCase() === wanted && each.getClientRects().length,
    );
    if (!found) return;
    event.preventDefault();
    found.click();
  };

  const asServed = (field) => {
    if (field.type === "radio" || field.type === "checkbox") field.checked = field.defaultChecked;
    else if (field.tagName === "SELECT") for (const option of field.options) option.selected = option.defaultSelected;
    else field.value = field.defaultValue;
  };

  const refresh = (form) => {
    if (form.luthierFresh === form.dataset.fresh) return false;
    form.luthierFresh = form.dataset.fresh;
    form.querySelectorAll("input, textarea, select").forEach(asServed);
    const here = document.activeElement;
    if (here && form.contains(here) && isTyping(here)) here.blur();
    return true;
  };

  const remembered = (field) => `luthier-field-${field.dataset.remember}`;

  const keyed = (element, key) => [...element.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);

  // What was refused is told in a toast and redraws nothing; the same sentence again only changes its count.
  const tellsToast = ({ target, addedNodes }) => {
    const place = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
    const isNew = (node) => node.nodeType === Node.ELEMENT_NODE && (node.matches(TOAST) || node.querySelector(TOAST));
    return place?.closest(TOAST) || [...addedNodes].some(isNew);
  };

  function luthierPanel(element, trigger, watch) {
    const unfolded = new Set();
    const drafts = new Map();
    let focused = null, typing = null, quiet = 0, pressing = 0, isAgain = false, waiting = null;

    const answered = () => {
      isAgain = false;
      toasts.disconnect();
      element.classList.remove("lu-busy");
    };
    const toasts = new MutationObserver((changes) => {
      if (changes.some(tellsToast)) answered();
    });

    const losePatience = () => {
      clearTimeout(quiet);
      quiet = setTimeout(() => {
        answered();
        if (waiting) pressAgain();
      }, PATIENCE_MS);
    };

    const send = (source, action, more = {}) => {
      clearTimeout(pressing);
      const isBusy = isAgain || element.classList.contains("lu-busy");
      if (!source.dataset.again) {
        focused = source.dataset.key || null;
        element.classList.add("lu-busy");
      }
      if (source.dataset.settles) drafts.clear();
      toasts.observe(document.body, { childList: true, characterData: true, subtree: true });
      losePatience();
      const said = told(source, action);
      Object.assign(said.fields, more);
      if (isBusy) waiting = said;  // Gradio drops what comes while an answer is under way
      else trigger("select", said);
      isAgain ||= Boolean(source.dataset.again);
    };

    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (button && !element.classList.contains("lu-busy")) send(button, button.dataset.do);
    });
    element.addEventListener("change", (event) => {
      const field = event.target.closest("[data-change]");
      if (field) send(field, field.dataset.change);
    });
    element.addEventListener("change", async (event) => {
      const field = event.target.closest("[data-file]");
      const file = field?.files[0];
      if (!file) return;
      const text = await file.text();
      field.value = "";
      send(field, field.dataset.file, { [field.name]: { name: file.name, text } });
    });
    element.addEventListener("keydown", (event) => {
      const field = event.target.closest("[data-enter]");
      if (!field || event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      send(field, field.dataset.enter);
    });
    element.addEventListener("input", (event) => {
      const field = event.target.closest("[data-draft]");
      if (field) drafts.set(field.dataset.draft, field.value);
    });
    element.addEventListener("input", (event) => {
      const field = event.target.closest("[data-remember]");
      if (field) localStorage.setItem(remembered(field), field.value);
    });
    document.addEventListener("keydown", (event) => pressShortcut(element, event));
    element.addEventListener("toggle", (event) => {
      const key = event.target.dataset?.key;
      if (key) unfolded[event.target.open ? "add" : "delete"](key);
    }, true);

    element.addEventListener("focusin", (event) => { typing = event.target.dataset.key || null; });

    // Gradio lets a redraw use a field that stood elsewhere again, with what was typed in it.
    const asServedUnlessTyping = (field) => {
      const isHere = field === document.activeElement && field.dataset.key === typing;
      if (!isHere && !field.closest("[data-fresh]")) asServed(field);
    };

    const pressAgain = () => {
      if (waiting) {
        element.classList.add("lu-busy");
        losePatience();
        trigger("select", waiting);
        waiting = null;
        return;
      }
      const button = element.querySelector("button[data-again]");
      if (button && element.getClientRects().length) send(button, button.dataset.do);
    };

    const drawn = () => {
      answered();
      clearTimeout(pressing);
      const again = element.querySelector("button[data-again]");
      if (again || waiting) pressing = setTimeout(pressAgain, Number(again?.dataset.again || 150));
      element.querySelectorAll("input, textarea, select").forEach(asServedUnlessTyping);
      const isAnew = [...element.querySelectorAll("[data-fresh]")].map(refresh).includes(true);
      for (const fold of element.querySelectorAll("details[data-key]")) if (unfolded.has(fold.dataset.key)) fold.open = true;
      const fields = new Map([...element.querySelectorAll("[data-draft]")].map((field) => [field.dataset.draft, field]));
      for (const [name, typed] of drafts) {
        if (fields.has(name)) fields.get(name).value = typed;
        else drafts.delete(name);
      }
      for (const field of element.querySelectorAll("[data-remember]")) {
        field.value ||= localStorage.getItem(remembered(field)) || "";
      }
      const back = focused && keyed(element, focused);
      if (isAnew && back && isTyping(back)) return;
      if (back && (document.activeElement === document.body || !document.activeElement)) back.focus();
    };
    watch("value", drawn);
    drawn();
    element.dataset.hears = "";
  }

  window.luthierPanel = luthierPanel;
})();
