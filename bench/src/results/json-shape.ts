import { isObject, shown } from "../workload/json-values.ts";

/**
 * A check of parsed JSON: undefined if the value has the shape, else where and how it does not, such as
 * `levels[0].seconds is "ten", not a number`.
 */
export type Shape = (value: unknown, path: string) => string | undefined;

export const isNumber: Shape = (value, path) =>
  typeof value === "number" ? undefined : wrong(value, path, "a number");

export const isText: Shape = (value, path) => (typeof value === "string" ? undefined : wrong(value, path, "a text"));

/** The field may be missing. */
export function optional(shape: Shape): Shape {
  return (value, path) => (value === undefined ? undefined : shape(value, path));
}

/** JSON has no NaN and no infinity: null stands where a number is not known. */
export function nullable(shape: Shape): Shape {
  return (value, path) => (value === null ? undefined : shape(value, path));
}

export function oneOf(...values: readonly string[]): Shape {
  return (value, path) =>
    values.includes(value as string) ? undefined : wrong(value, path, `one of ${values.join(", ")}`);
}

export function listOf(shape: Shape): Shape {
  return (value, path) => {
    if (!Array.isArray(value)) return wrong(value, path, "a list");
    return firstComplaint(value.map((item, i) => () => shape(item, `${path}[${i}]`)));
  };
}

/** Any names, each with a value of the shape. */
export function recordOf(shape: Shape): Shape {
  return (value, path) => {
    if (!isObject(value)) return wrong(value, path, "an object");
    return firstComplaint(Object.keys(value).map((name) => () => shape(value[name], `${path}.${name}`)));
  };
}

/** At least these fields; a newer writer of the same version may have added some. */
export function fields(shapes: Readonly<Record<string, Shape>>): Shape {
  return (value, path) => {
    if (!isObject(value)) return wrong(value, path, "an object");
    const inside = (name: string): string => (path === "" ? name : `${path}.${name}`);
    return firstComplaint(Object.keys(shapes).map((name) => () => shapes[name]!(value[name], inside(name))));
  };
}

function firstComplaint(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const complaint = check();
    if (complaint !== undefined) return complaint;
  }
  return undefined;
}

function wrong(value: unknown, path: string, wanted: string): string {
  if (value === undefined) return `${path} is missing`;
  return `${path === "" ? "it" : path} is ${shown(value)}, not ${wanted}`;
}
