// The file form of a trace (sglang_soft/trace/files.py): an uncompressed zip of numpy arrays.
import { raw } from "./bytes";
import type { Json } from "./page_data";
import { EXTRA, Thought } from "./thought";
import { offsetBytes } from "./trace_json";

type Column = Int32Array | Float32Array | Uint8Array;
const DTYPES: Record<string, (bytes: Uint8Array) => Column> = {
  "<i4": (bytes) => new Int32Array(bytes.slice().buffer),
  "<f4": (bytes) => new Float32Array(bytes.slice().buffer),
  "|u1": (bytes) => bytes,
};
interface Array_ {
  column: Column;
  shape: number[];
}

/** Raises an Error: not such a file. */
export function readNpz(file: Uint8Array): Thought {
  const arrays = Object.fromEntries(members(file).map(([name, bytes]) => [name, npy(bytes)]));
  const need = (name: string): Array_ => {
    const found = arrays[name];
    if (!found) throw new Error(`not a trace file: it has no ${name}.`);
    return found;
  };
  const header: Json = JSON.parse(new TextDecoder().decode(need("header").column as Uint8Array));
  const [n, k] = need("ids").shape as [number, number];
  const thought = new Thought();
  thought.put(need("ids").column as Int32Array, need("weights").column as Float32Array,
    need("entropy").column as Float32Array, k);
  const offsets = need("offsets");
  if (offsets.shape[1]) {
    const dtype = header.offset_dtype;
    thought.offsets = { dtype, parts: [offsets.column as Uint8Array] };
  }
  for (const name of EXTRA) {
    const found = arrays[name];
    const width = found?.shape[1] ?? 0;
    if (!found || !width) continue;
    thought.extra[name] = Array.from({ length: n }, (_, i) =>
      Array.from(found.column.subarray(i * width, (i + 1) * width), (value) =>
        Number.isNaN(value) ? null : value));
  }
  delete header.offset_dtype;
  thought.append({ ...header, step: n });
  thought.start = header.start;
  return thought;
}

export function writeNpz(thought: Thought): Uint8Array {
  const { n, k } = thought;
  const header = {
    ...thought.head, start: thought.start, offset_dtype: thought.offsets?.dtype ?? "float32",
  };
  const offsets = offsetBytes(thought);
  const width = n ? offsets.length / n : 0;
  const columns: [string, string, number[], Uint8Array][] = [];
  for (const name of EXTRA) {
    const rows = thought.extra[name];
    if (!rows?.length) continue;
    const values = rows.flat().map((value) => value ?? NaN);
    const column = name === "drawn" ? Int32Array.from(values) : Float32Array.from(values);
    columns.push([name, name === "drawn" ? "<i4" : "<f4", [n, rows[0]!.length], raw(column)]);
  }
  columns.push(
    ["ids", "<i4", [n, k], raw(thought.ids.subarray(0, n * k))],
    ["weights", "<f4", [n, k], raw(thought.weights.subarray(0, n * k))],
    ["entropy", "<f4", [n], raw(thought.entropy.subarray(0, n))],
    ["offsets", "|u1", [n, width], offsets],
  );
  const text = new TextEncoder().encode(JSON.stringify(header));
  columns.push(["header", "|u1", [text.length], text]);
  return zipped(columns.map(([name, dtype, shape, data]) => [`${name}.npy`, asNpy(dtype, shape, data)]));
}

function npy(bytes: Uint8Array): Array_ {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const long = bytes[6]! > 1;
  const start = long ? 12 : 10;
  const size = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder().decode(bytes.subarray(start, start + size));
  const dtype = /'descr': '([^']+)'/.exec(header)?.[1] ?? "";
  const shape = (/'shape': \(([^)]*)\)/.exec(header)?.[1] ?? "").split(",").filter((s) => s.trim());
  const make = DTYPES[dtype];
  if (!make || /'fortran_order': True/.test(header)) throw new Error(`not a trace file: ${header}`);
  return { column: make(bytes.subarray(start + size)), shape: shape.map(Number) };
}

function asNpy(dtype: string, shape: number[], data: Uint8Array): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  let header = `{'descr': '${dtype}', 'fortran_order': False, 'shape': ${tuple}, }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + data.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(data, 10 + header.length);
  return bytes;
}

/** The files of a zip, from its central directory. */
function members(file: Uint8Array): [string, Uint8Array][] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let end = file.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("not a trace file: no zip.");
  const found: [string, Uint8Array][] = [];
  let at = view.getUint32(end + 16, true);
  for (let i = view.getUint16(end + 10, true); i > 0; i--) {
    const [method, size] = [view.getUint16(at + 10, true), view.getUint32(at + 24, true)];
    const [name, extra, comment] = [28, 30, 32].map((o) => view.getUint16(at + o, true)) as
      [number, number, number];
    const local = view.getUint32(at + 42, true);
    if (method !== 0) throw new Error("not a trace file: its arrays are compressed.");
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const label = new TextDecoder().decode(file.subarray(at + 46, at + 46 + name));
    found.push([label.replace(/\.npy$/, ""), file.subarray(start, start + size)]);
    at += 46 + name + extra + comment;
  }
  return found;
}

function zipped(files: [string, Uint8Array][]): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, data] of files) {
    const label = new TextEncoder().encode(name);
    const fields = [20, 0, 0, 0, 0x21]; // version, flags, stored, time, date (1980-01-01)
    const sizes = [crc32(data), data.length, data.length];
    const local = new DataView(new ArrayBuffer(30));
    local.setUint32(0, 0x04034b50, true);
    fields.forEach((value, i) => local.setUint16(4 + 2 * i, value, true));
    sizes.forEach((value, i) => local.setUint32(14 + 4 * i, value, true));
    local.setUint16(26, label.length, true);
    const entry = new DataView(new ArrayBuffer(46));
    entry.setUint32(0, 0x02014b50, true);
    entry.setUint16(4, 20, true);
    fields.forEach((value, i) => entry.setUint16(6 + 2 * i, value, true));
    sizes.forEach((value, i) => entry.setUint32(16 + 4 * i, value, true));
    entry.setUint16(28, label.length, true);
    entry.setUint32(42, at, true);
    parts.push(new Uint8Array(local.buffer), label, data);
    directory.push(new Uint8Array(entry.buffer), label);
    at += 30 + label.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  for (const o of [8, 10]) end.setUint16(o, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  const all = new Uint8Array(at + size + 22);
  let to = 0;
  for (const part of [...parts, ...directory, new Uint8Array(end.buffer)]) {
    all.set(part, to);
    to += part.length;
  }
  return all;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  for (let bit = 0; bit < 8; bit++) i = i & 1 ? (i >>> 1) ^ 0xedb88320 : i >>> 1;
  return i;
});

function crc32(data: Uint8Array): number {
  let sum = ~0;
  for (let i = 0; i < data.length; i++) sum = TABLE[(sum ^ data[i]!) & 255]! ^ (sum >>> 8);
  return ~sum >>> 0;
}
