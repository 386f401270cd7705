// A viewer of /openapi.json: every route, what it takes, what it answers, and how curl calls it.
"use strict";

const nameOf = (schema) => schema.$ref.split("/").pop();

/** Writes a schema as the JSON it stands for; a message inside itself is named only. */
function sample(schema, document_, above = []) {
  if (schema.$ref) {
    const name = nameOf(schema);
    const found = document_.components.schemas[name];
    if (above.includes(name) || above.length > 3) return `(${name.split(".").pop()})`;
    return sample(found, document_, [...above, name]);
  }
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return [sample(schema.items, document_, above)];
  if (schema.type !== "object") return schema.contentEncoding || schema.format || schema.type || "bytes";
  if (schema.properties) {
    const fields = Object.entries(schema.properties).map(([name, field]) => [name, sample(field, document_, above)]);
    return Object.fromEntries(fields);
  }
  return { "…": sample(schema.additionalProperties, document_, above) };
}

function curl(path, verb, operation) {
  const at = `${location.origin}${path}`;
  const query = (operation.parameters || []).map((it) => `${it.name}=…`).join("&");
  const url = query ? `'${at}?${query}'` : at;
  if (verb === "get") return `curl ${url}`;
  const media = Object.keys(operation.requestBody.content)[0];
  return `curl ${url} -H 'content-type: ${media}' --data-binary @FILE`;
}

function operationOf(path, verb, operation, document_) {
  const [media, answer] = Object.entries(operation.responses["200"].content)[0];
  const summary = make("summary", {}, make("span", { class: `verb ${verb}` }, verb.toUpperCase()), make("code", {}, path));
  summary.append(make("span", { class: "said" }, operation.description || ""));
  const details = make("details", { "data-words": `${path} ${operation.description || ""}`.toLowerCase() }, summary);
  const code = (value) => make("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2));
  details.append(make("h3", {}, "Call"), code(curl(path, verb, operation)));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    const row = (it) => {
      const kind = it.schema.type === "array" ? "repeated" : it.schema.format || it.schema.type || nameOf(it.schema);
      return make("tr", {}, make("td", {}, it.name), make("td", {}, kind), make("td", { class: "wrap" }, it.description || ""));
    };
    details.append(make("h3", {}, "Query"), make("table", {}, make("tbody", {}, ...parameters.map(row))));
  }
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  if (body) details.append(make("h3", {}, "Body"), code(sample(body.schema, document_)));
  const lines = media === "application/x-ndjson" ? "Answer, a line per message" : "Answer";
  details.append(make("h3", {}, lines), code(sample(answer.schema, document_)));
  return details;
}

async function show() {
  try {
    const answer = await fetch("/openapi.json");
    const document_ = await answer.json();
    el("version").textContent = `version ${document_.info.version}, OpenAPI ${document_.openapi}`;
    el("about").textContent = document_.info.description;
    const sections = document_.tags.map((tag) => {
      const of_tag = Object.entries(document_.paths).flatMap(([path, verbs]) =>
        Object.entries(verbs)
          .filter(([, operation]) => operation.tags.includes(tag.name))
          .map(([verb, operation]) => operationOf(path, verb, operation, document_)),
      );
      const said = make("p", { class: "dim" }, tag.description || "");
      return make("section", {}, make("h2", {}, tag.name), said, ...of_tag);
    });
    el("operations").replaceChildren(...sections);
    document.body.dataset.ready = "yes";
  } catch (error) {
    el("frozen").textContent = `the description cannot be read: ${error.message}`;
    el("frozen").hidden = false;
  }
}

el("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const details of document.querySelectorAll("details")) details.hidden = !details.dataset.words.includes(wanted);
});

show();
