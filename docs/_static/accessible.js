// What axe misses in Furo's pages: levels of its headings, names of its sidebars, and scrolling without a mouse.

const SCROLLING = "pre, .table-wrapper";

for (const heading of document.querySelectorAll("[role=heading]:not([aria-level])")) heading.setAttribute("aria-level", "2");
for (const [sidebar, name] of [[".sidebar-drawer", "Pages"], [".toc-drawer", "This page"]]) {
  document.querySelector(sidebar)?.setAttribute("aria-label", name);
}

// Only what is wider than its place becomes a stop of the Tab key, and it can change with the window.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});
for (const one of document.querySelectorAll(SCROLLING)) sizes.observe(one);
