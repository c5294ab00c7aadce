// The page: what is shown when, and what each form does. The selected entity is in the address, so it can be linked to.
import * as api from "./api.js";
import {element, get, nameOf, shown} from "./dom.js";
import {draw} from "./graph.js";

const STATUS_MS = 5000;
let listed = [];  // entities in the list
let text = "";  // of the search

const say = (message, news = "") => {
  get("message").textContent = message;
  get("news").textContent = news;
};

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (error instanceof api.TooLate) return;
    if (error instanceof api.SessionEnded) front();
    say(error.message);
  }
}

// -- signed in or not

/** Nothing of what was shown stays in the page. */
function front() {
  api.signOut();
  listed = [];
  text = "";
  history.replaceState(null, "", location.pathname);
  for (const id of ["entities", "details", "graph", "graph-says", "relationships", "selected-title", "state", "who"]) {
    get(id).replaceChildren();
  }
  for (const form of document.forms) form.reset();
  get("relate").elements.target.replaceChildren();
  for (const id of ["work", "selected", "session", "more"]) get(id).hidden = true;
  get("front").hidden = false;
  get("front-title").focus();
}

async function work() {
  const {sub, tenantId, roles} = await api.me();
  get("who").textContent = `${sub} of ${tenantId} (${roles.join(", ")})`;
  get("front").hidden = true;
  get("session").hidden = false;
  get("work").hidden = false;
  get("entities-title").focus();
  await Promise.all([list(), showStatus(), selected() ? show(selected()) : null]);
}

// -- entities

const selected = () => decodeURIComponent(location.hash.slice(1));

function row(entity) {
  const button = element("button", {type: "button"}, nameOf(entity), " ",
    element("span", {class: "kind"}, entity.kind));
  if (entity.id === selected()) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => { location.hash = encodeURIComponent(entity.id); });
  return element("li", {}, button);
}

function showList() {
  const nothing = element("li", {class: "quiet"}, text ? "Nothing found." : "There are no entities yet.");
  get("entities").replaceChildren(...(listed.length ? listed.map(row) : [nothing]));
  const chosen = get("relate").elements.target;
  const before = chosen.value;
  chosen.replaceChildren(...listed.map(each => element("option", {value: each.id}, `${nameOf(each)} (${each.kind})`)));
  if (listed.some(each => each.id === before)) chosen.value = before;
}

async function list(more = false) {
  const found = await api.entities(text, more ? listed.length : 0);
  const known = new Set(more ? listed.map(each => each.id) : []);
  listed = [...(more ? listed : []), ...found.filter(each => !known.has(each.id))];
  get("more").hidden = Boolean(text) || found.length < api.PAGE;
  showList();
}

async function show(id) {
  const depth = Number(get("around").elements.depth.value);
  const {entity, graph} = await api.around(id, depth);
  if (id !== selected()) return;  // someone went on meanwhile
  get("selected").hidden = entity === null;
  if (entity === null) throw new Error("There is no such entity.");
  get("selected-title").textContent = nameOf(entity);
  const facts = {Kind: entity.kind, ...entity.props, Created: `${new Date(entity.createdAt).toLocaleString()} by ${entity.createdBy}`};
  get("details").replaceChildren(...Object.entries(facts).flatMap(
    ([name, value]) => [element("dt", {}, name), element("dd", {}, shown(value))]));
  draw(get("graph"), id, graph, other => { location.hash = encodeURIComponent(other); });
  const names = new Map(graph.entities.map(each => [each.id, nameOf(each)]));
  get("relationships").replaceChildren(...graph.relationships.map(each => element("li", {},
    `${names.get(each.srcId) ?? each.srcId} — ${each.type} → ${names.get(each.dstId) ?? each.dstId}`)));
  const cut = graph.truncated ? "; there are more than can be shown" : "";
  get("graph-says").textContent = `${graph.entities.length} within ${depth} hop(s)${cut}`;
}

// -- the node

const badge = (words, kind = "") => element("li", {class: kind}, words);

function syncBadge({backlog, last_contact_s: since}) {
  const heard = since === null ? "not yet in contact" : `last contact ${Math.round(since)} s ago`;
  return backlog === 0 ? badge(`Synchronised, ${heard}`, "good") : badge(`${backlog} to synchronise, ${heard}`, "warn");
}

const LICENCE = {
  valid: ["Licence valid", "good"],
  expired: ["Licence expired", "warn"],
  not_yet_valid: ["Licence not valid yet", "warn"],
  none: ["No licence", "warn"],
};

async function showStatus() {
  const {sync, licence} = await api.status();
  const found = [...(sync ? [syncBadge(sync)] : []), ...(licence ? [badge(...LICENCE[licence.state])] : [])];
  get("state").replaceChildren(...found);
}

async function showNode() {
  const {mode, variant, version} = await api.discovery();
  get("node").textContent = `Mode ${mode} (${variant}), version ${version}`;
}

// -- what people do

function on(id, action) {
  get(id).addEventListener("submit", async event => {
    event.preventDefault();
    const form = event.target, button = form.querySelector("button:not([type=button])");
    say("");
    if (button) button.disabled = true;
    await attempt(() => action(Object.fromEntries(new FormData(form)), form));
    if (button) button.disabled = false;
  });
}

on("sign-in", async (fields, form) => {
  await api.signIn(fields);
  form.reset();
  await work();
});
on("search", async fields => {
  text = fields.text.trim();
  await list();
});
on("create", async ({kind, name}, form) => {
  const made = await api.createEntity(kind.trim(), name);
  form.reset();
  listed = [made, ...listed];
  location.hash = encodeURIComponent(made.id);
  showList();
  say("", `${name} was created.`);
});
on("relate", async ({type, target}, form) => {
  await api.createRelationship(selected(), target, type.trim());
  form.elements.type.value = "";
  await show(selected());
  say("", "The relationship was created.");
});
on("around", () => show(selected()));
get("around").addEventListener("change", () => attempt(() => show(selected())));
get("more").addEventListener("click", () => attempt(() => list(true)));
get("sign-out").addEventListener("click", () => { front(); say("", "You are signed out."); });
addEventListener("hashchange", () => {
  if (!api.signedIn() || !selected()) return;
  showList();
  attempt(() => show(selected()));
});
setInterval(() => {
  if (api.signedIn() && !document.hidden) attempt(showStatus);
}, STATUS_MS);

attempt(showNode);
if (api.signedIn()) attempt(work);
else front();
