// Making elements. What people wrote is only ever text here: nothing is parsed as markup.
const SVG = "http://www.w3.org/2000/svg";

export const get = id => document.getElementById(id);

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const element = (name, attributes = {}, ...children) =>
  filled(document.createElement(name), attributes, children);

export const drawn = (name, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, name), attributes, children);

export const shown = value => (typeof value === "string" ? value : JSON.stringify(value));

/** What an entity is called: its name, or its id without one. */
export const nameOf = entity => shown(entity.props?.name ?? entity.id);
