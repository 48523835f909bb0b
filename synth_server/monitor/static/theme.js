// Chosen before the page is drawn, so that it never flashes in the other theme.
"use strict";
(() => {
  const root = document.documentElement;
  const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("theme");
  const apply = () => {
    root.dataset.theme = chosen() || (systemIsDark.matches ? "dark" : "light");
    window.dispatchEvent(new Event("themechange"));
  };
  window.toggleTheme = () => {
    localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
    apply();
  };
  systemIsDark.addEventListener("change", apply);
  apply();
})();
