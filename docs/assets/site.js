/* What the theme leaves to do for readers who use a keyboard or a screen reader: code and tables that scroll can be
   reached, buttons of code blocks are no landmarks, an empty cell is no header, and where a result of the search stands is
   dark enough. */
addEventListener("load", () => {
  setTimeout(() => {
    for (const part of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) {
      part.tabIndex = 0;
    }
    for (const buttons of document.querySelectorAll("nav.md-code__nav")) {
      buttons.setAttribute("role", "none");
    }
    for (const header of document.querySelectorAll(".md-typeset th")) {
      if (!header.textContent.trim()) {
        header.replaceWith(document.createElement("td"));
      }
    }
    const paths = new CSSStyleSheet();
    paths.replaceSync('[id$="-path"] { color: rgb(var(--color-foreground) / 0.7) }');
    for (const part of document.body.children) {
      if (part.shadowRoot) {
        part.shadowRoot.adoptedStyleSheets = [paths];
      }
    }
  }, 100);
});
