// Columns of numbers as base64, little endian, as the page's data has them.

export function bytesOf(base64: string): Uint8Array {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export function base64Of(bytes: Uint8Array): string {
  const parts: string[] = [];
  const size = 0x8000; // arguments that a call may have
  for (let at = 0; at < bytes.length; at += size) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + size)));
  }
  return btoa(parts.join(""));
}

export const int32 = (bytes: Uint8Array) => new Int32Array(copied(bytes));
export const float32 = (bytes: Uint8Array) => new Float32Array(copied(bytes));

/** Of a typed array, its own bytes alone. */
export function raw(column: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}

/** In a buffer of its own: a view of 4-byte numbers has to be aligned. */
function copied(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}
