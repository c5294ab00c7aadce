// A neighbourhood as a picture: the start in the middle, each further hop on a wider ring, the same every time.
import {drawn, nameOf} from "./dom.js";

const RING = 110, RADIUS = 13, MARGIN = 60, LABEL = 18;

/** Hops of each entity from the start, and the one that it was reached from. */
function reached(start, relationships) {
  const found = new Map([[start, {hops: 0, from: null}]]);
  for (const [id, {hops}] of found) {  // grows while it is walked
    for (const {srcId, dstId} of relationships) {
      const other = srcId === id ? dstId : dstId === id ? srcId : null;
      if (other !== null && !found.has(other)) found.set(other, {hops: hops + 1, from: id});
    }
  }
  return found;
}

/** Evenly around each ring, in the order of whom they were reached from, beginning beside the first of those. */
function places(start, graph) {
  const known = reached(start, graph.relationships);
  const rings = [];
  for (const {id} of graph.entities) (rings[known.get(id)?.hops ?? 1] ??= []).push(id);
  const angles = new Map([[start, -Math.PI / 2]]), found = new Map();
  const behind = id => angles.get(known.get(id)?.from) ?? 0;
  rings.forEach((ids, ring) => {
    const radius = ring && Math.max(ring * RING, ids.length * RADIUS * 0.8);
    ids.sort((a, b) => behind(a) - behind(b)).forEach((id, index) => {
      const angle = behind(ids[0]) + (2 * Math.PI * index) / ids.length;
      angles.set(id, angle);
      found.set(id, {x: radius * Math.cos(angle), y: radius * Math.sin(angle)});
    });
  });
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
  const reach = axis => Math.max(RING, ...[...at.values()].map(place => Math.abs(place[axis]))) + MARGIN;
  const wide = Math.max(reach("x"), 2 * RING), high = reach("y");
  svg.setAttribute("viewBox", `${-wide} ${-high} ${2 * wide} ${2 * high}`);
  const lines = graph.relationships.filter(({srcId, dstId}) => at.has(srcId) && at.has(dstId));
  svg.replaceChildren(
    ...lines.map(each => line(each, at.get(each.srcId), at.get(each.dstId))),
    ...graph.entities.map(each => dot(each, at.get(each.id), each.id === start, choose)));
}
