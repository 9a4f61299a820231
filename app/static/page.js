/* What every page does besides: its language for the browser, and the link to the other language. */
(() => {
  "use strict";
  const language = location.pathname.split("/")[1];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";

  // On click the link gets the page's query (?run=12), and the choice is remembered.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-language]");
    if (!link) return;
    document.cookie = `${link.dataset.cookie}=${link.dataset.language};path=/;max-age=31536000;samesite=lax`;
    link.href = link.getAttribute("href").split("?")[0] + location.search;
  }, true);
})();
