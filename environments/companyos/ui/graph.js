// A neighbourhood as a picture: the start in the middle, each further hop on a wider ring, the same every time.
import {drawn, nameOf} from "./dom.js";

const RING = 110, RADIUS = 13, MARGIN = 70, LABEL = 18;

/** Hops of each entity from the start. */
function hops(start, relationships) {
  const found = new Map([[start, 0]]);
  for (const id of found.keys()) {  // grows while it is walked
    for (const {srcId, dstId} of relationships) {
      const other = srcId === id ? dstId : dstId === id ? srcId : null;
      if (other !== null && !found.has(other)) found.set(other, found.get(id) + 1);
    }
  }
  return found;
}

function places(start, graph) {
  const far = hops(start, graph.relationships);
  const rings = new Map();
  for (const {id} of graph.entities) {
    const ring = far.get(id) ?? 1;
    rings.set(ring, [...(rings.get(ring) ?? []), id]);
  }
  const found = new Map();
  for (const [ring, ids] of rings) {
    const radius = ring && Math.max(ring * RING, ids.length * RADIUS * 0.8);
    ids.forEach((id, index) => {
      const angle = (2 * Math.PI * index) / ids.length - Math.PI / 2 + ring * 0.35;
      found.set(id, {x: radius * Math.cos(angle), y: radius * Math.sin(angle)});
    });
  }
  return found;
}

const short = text => (text.length > LABEL ? `${text.slice(0, LABEL - 1)}…` : text);

function line(relationship, from, to) {
  const middle = {x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 - 3};
  return drawn("g", {},
    drawn("line", {x1: from.x, y1: from.y, x2: to.x, y2: to.y}),
    drawn("text", {class: "edge-type", ...middle}, short(relationship.type)));
}

function dot(entity, place, isStart, choose) {
  const made = drawn("g", {role: "button", tabindex: 0, "aria-label": `${entity.kind} ${nameOf(entity)}`},
    drawn("circle", {cx: place.x, cy: place.y, r: RADIUS}),
    drawn("text", {x: place.x, y: place.y + RADIUS + 14}, short(nameOf(entity))),
    drawn("title", {}, `${entity.kind}: ${nameOf(entity)}`));
  if (isStart) made.setAttribute("class", "start");
  made.addEventListener("click", () => choose(entity.id));
  made.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(entity.id);
  });
  return made;
}

export function draw(svg, start, graph, choose) {
  const at = places(start, graph);
  const most = Math.max(2 * RING, ...[...at.values()].flatMap(({x, y}) => [Math.abs(x), Math.abs(y)])) + MARGIN;
  svg.setAttribute("viewBox", `${-most} ${-most * 0.7} ${2 * most} ${1.4 * most}`);
  const lines = graph.relationships.filter(({srcId, dstId}) => at.has(srcId) && at.has(dstId));
  svg.replaceChildren(
    ...lines.map(each => line(each, at.get(each.srcId), at.get(each.dstId))),
    ...graph.entities.map(each => dot(each, at.get(each.id), each.id === start, choose)));
}
