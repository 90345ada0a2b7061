/* What the theme leaves to do for readers who use a keyboard or a screen reader: code and tables that scroll can be
   reached, buttons of code blocks are no landmarks, and an empty cell is no header. */
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
  }, 100);
});
