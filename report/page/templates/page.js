"use strict";
// Helpers of the page. Untrusted data becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** The JSON of a script element, or null where the page has none. */
function dataOf(name) {
  const element = document.getElementById("data-" + name);
  return element === null ? null : JSON.parse(element.textContent);
}

/** A new element with attributes and children; strings become text. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A new SVG element with attributes and children. */
function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number with three decimal places. */
function plain(value) {
  return value.toFixed(3).replace("-", "−");
}

/** The options of a select, numbered from 0. */
function fill(select, names) {
  select.replaceChildren(...names.map((name, number) => make("option", { value: number }, name)));
}
