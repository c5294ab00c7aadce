// What the page asks of the node, and the one place that knows the token.
const TOKEN = "companyos-token";
const port = document.querySelector("meta[name=companyos-identity-port]").content;
const identity = port === location.port ? "" : `${location.protocol}//${location.hostname}:${port}`;

export const signedIn = () => sessionStorage.getItem(TOKEN) !== null;
export const signOut = () => sessionStorage.removeItem(TOKEN);

/** Someone has to sign in again: the node no longer takes the token. */
export class SessionEnded extends Error {}

/** What was asked was answered after its session had ended here: it is nobody's any more, and is not to be shown. */
export class TooLate extends Error {}

const WORDS = {
  FORBIDDEN: "You are not allowed to do that.",
  UNAVAILABLE: "The node cannot answer this right now. Try again in a moment.",
  POLICY_UNAVAILABLE: "The node cannot decide who may do this right now. Try again in a moment.",
  KEY_UNAVAILABLE: "The key of your organisation's data is not available. Ask your operator.",
  STORAGE_FULL: "The node has no space left. Nothing that was saved is lost.",
};

async function ask(url, options = {}) {
  let answer, body;
  try {
    answer = await fetch(url, {cache: "no-store", ...options});
  } catch {
    throw new Error("The node does not answer. See whether it runs and you are connected to it, then try again.");
  }
  try {
    body = await answer.json();
  } catch {
    throw new Error(`The node gave an answer that cannot be read (${answer.status}).`);
  }
  const error = body.error ?? body.errors?.[0];
  if (!error && answer.ok) return body;
  const code = error?.code ?? error?.extensions?.code;
  throw Object.assign(new Error(WORDS[code] ?? error?.message ?? `The node refused (${answer.status}).`), {code});
}

async function asking(url, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = {...options.headers, Authorization: `Bearer ${token}`};
  let answer, failure;
  try {
    answer = await ask(url, {...options, headers});
  } catch (error) {
    failure = error;
  }
  if (sessionStorage.getItem(TOKEN) !== token) throw new TooLate();
  if (failure?.code === "UNAUTHENTICATED") {
    signOut();
    throw new SessionEnded("Your session has ended. Sign in again.");
  }
  if (failure) throw failure;
  return answer;
}

const json = body => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});

export async function signIn(fields) {
  try {
    const {accessToken} = await ask(`${identity}/v1/auth/login`, json(fields));
    sessionStorage.setItem(TOKEN, accessToken);
  } catch (error) {
    throw error.code === "UNAUTHENTICATED" ? new Error("Tenant, user or password is not right.") : error;
  }
}

async function graphql(query, variables = {}) {
  return (await asking("/graphql", json({query, variables}))).data;
}

export const discovery = () => ask("/.well-known/companyos");
export const status = () => asking("/v1/status");
export const me = async () => (await graphql("{ me { sub tenantId roles } }")).me;

export const PAGE = 100;

/** A page of all entities, oldest first; or what a search finds, all at once. */
export async function entities(text, offset) {
  const query = text
    ? `query($text: String!) { found: searchEntities(text: $text, limit: ${PAGE}) { id kind props } }`
    : `query($offset: Int!) { found: entities(limit: ${PAGE}, offset: $offset) { id kind props } }`;
  return (await graphql(query, text ? {text} : {offset})).found;
}

export async function createEntity(kind, name) {
  const query = "mutation($input: EntityInput!) { made: createEntity(input: $input) { id kind props } }";
  return (await graphql(query, {input: {kind, props: {name}}})).made;
}

export async function createRelationship(srcId, dstId, type) {
  const query = "mutation($input: RelationshipInput!) { made: createRelationship(input: $input) { id } }";
  return (await graphql(query, {input: {srcId, dstId, type}})).made;
}

export async function around(id, depth) {
  const query = `query($id: ID!, $depth: Int!) {
    entity(id: $id) { id kind labels props createdAt createdBy version }
    graph: graphNeighborhood(startEntityId: $id, maxDepth: $depth) {
      entities { id kind props } relationships { id srcId dstId type } truncated
    }
  }`;
  return graphql(query, {id, depth});
}
