// The form of the parameters, made from the server's own JSON schema.
import { make, the } from "./dom";
import type { Json } from "./page_data";

interface Field {
  name: string;
  schema: Json;
  /** What the server takes if the request says nothing. */
  standard: unknown;
  help: string;
  input: HTMLInputElement | HTMLSelectElement;
}

/** Keys that the page gives itself. */
const OWN = ["method", "return_concepts", "return_rollout"];

export class Form {
  private fields: Field[] = [];
  private readonly defaults: Json;

  /** info: what GET /soft_thinking says. */
  constructor(private readonly info: Json) {
    this.defaults = typeof info.server.default === "object" ? (info.server.default ?? {}) : {};
    const method = the<HTMLSelectElement>("method");
    for (const { method: name, feeds } of info.methods) {
      method.append(make("option", { value: name, title: feeds }, name));
    }
    method.value = this.defaults.method ?? "soft";
    method.addEventListener("change", () => this.fill());
    const preset = the<HTMLSelectElement>("preset");
    preset.append(make("option", { value: "" }, "none"));
    for (const { preset: name } of info.presets) preset.append(make("option", { value: name }, name));
    this.fill();
  }

  get method(): string {
    return the<HTMLSelectElement>("method").value;
  }

  /** `soft_thinking`: the method, and what differs from the defaults. Raises an Error: a value is
   * not one. method: another one, whose keys alone are given. */
  values(method = this.method): Json {
    const other = method !== this.method;
    const known = this.properties(method);
    const preset = the<HTMLSelectElement>("preset").value;
    const found: Json = {};
    if (preset && !other) found.preset = preset;
    if (method !== (this.defaults.method ?? "soft") && !(preset && method === "soft")) found.method = method;
    for (const field of this.fields) {
      if (other && !(field.name in known)) continue;
      const value = read(field);
      if (value !== undefined) found[field.name] = value;
    }
    return found;
  }

  private properties(method: string): Json {
    const { schema } = this.info;
    const name = schema.discriminator.mapping[method].replace("#/$defs/", "");
    return schema.$defs[name].properties;
  }

  private fill(): void {
    const before = new Map(this.fields.map((field) => [field.name, field.input.value]));
    const properties = this.properties(this.method);
    const entry = this.info.methods.find((m: Json) => m.method === this.method);
    the("method-help").textContent = entry?.feeds ?? "";
    const own = new Set((entry?.parameters ?? []).map((row: Json) => row.key));
    const names = Object.keys(properties).filter((name) => !OWN.includes(name));
    names.sort((a, b) => Number(own.has(b)) - Number(own.has(a)));
    this.fields = [];
    the("parameters").replaceChildren(...names.map((name) => {
      const field = this.field(name, properties[name]);
      const old = before.get(name);
      if (old !== undefined && [...optionsOf(field.input)].includes(old)) field.input.value = old;
      this.fields.push(field);
      return line(field, own.has(name));
    }));
  }

  private field(name: string, property: Json): Field {
    const nullable = property.anyOf?.some((one: Json) => one.type === "null");
    const schema = nullable ? property.anyOf.find((one: Json) => one.type !== "null") : property;
    const standard = this.defaults[name] ?? property.default ?? null;
    const rows: Json[] = this.info.parameters;
    const meaning = schema.description ?? property.description ??
      rows.find((row) => row.key === name)?.meaning ?? "";
    const rules = this.info.stop_rules.map((rule: Json) => rule.rule).join(", ");
    const help = name === "stop" ? `${meaning}. As {"rule": "NAME", ...}; rules: ${rules}` : meaning;
    const id = `p-${name}`;
    const described = { id, name, "aria-describedby": `${id}-help` };
    const choices: unknown[] | undefined = schema.enum ?? (schema.type === "boolean" ? [false, true] : undefined);
    if (choices) {
      const input = make("select", described,
        ...(nullable ? [make("option", { value: "" }, "default")] : []),
        ...choices.map((choice) => make("option", { value: String(choice) }, String(choice))));
      input.value = standard === null ? "" : String(standard);
      return { name, schema, standard, help, input };
    }
    const numeric = schema.type === "number" || schema.type === "integer";
    const input = make("input", {
      ...described, type: numeric ? "number" : "text", autocomplete: "off",
      placeholder: standard === null || standard === "" ? "default" : String(standard),
      ...(numeric ? { step: schema.type === "integer" ? "1" : "any" } : {}),
      ...(schema.minimum !== undefined ? { min: String(schema.minimum) } : {}),
      ...(schema.maximum !== undefined ? { max: String(schema.maximum) } : {}),
    });
    return { name, schema, standard, help, input };
  }
}

function optionsOf(input: HTMLInputElement | HTMLSelectElement): string[] {
  return input instanceof HTMLSelectElement ? [...input.options].map((o) => o.value) : [input.value, input.value];
}

function line({ name, schema, help, input }: Field, own: boolean): HTMLElement {
  const limits = rangeOf(schema);
  return make("div", { class: own ? "field own" : "field" },
    make("label", { for: input.id }, name), input,
    make("small", { id: `${input.id}-help` }, help + (limits && ` (${limits})`)));
}

function rangeOf(schema: Json): string {
  const least = schema.minimum ?? schema.exclusiveMinimum;
  const most = schema.maximum ?? schema.exclusiveMaximum;
  const large = most === undefined || most >= 2 ** 31 - 1;
  if (least !== undefined && large) return `${schema.minimum === undefined ? ">" : "≥"} ${least}`;
  if (least === undefined) return large ? "" : `≤ ${most}`;
  const [open, close] = [schema.minimum === undefined ? "(" : "[", schema.maximum === undefined ? ")" : "]"];
  return `${open}${least}, ${most}${close}`;
}

/** Undefined: it is the default. */
function read({ name, schema, standard, input }: Field): unknown {
  if (input instanceof HTMLInputElement && !input.checkValidity()) {
    input.closest("details")!.open = true;
    input.focus();
    throw new Error(`${name}: ${input.validationMessage}`);
  }
  if (input.value === "") return undefined;
  let value: unknown = input.value;
  if (schema.type === "boolean") value = input.value === "true";
  else if (schema.type === "number" || schema.type === "integer") value = Number(input.value);
  else if (schema.type !== "string" && !schema.enum) value = parsed(name, input.value);
  return value === standard ? undefined : value;
}

/** A value that is neither text nor a number is written as JSON. */
function parsed(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${name} must be JSON, such as {"key": 1}; got ${text}.`);
  }
}
