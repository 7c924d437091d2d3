/**
 * A 64-bit hash of text as two 32-bit words; not against malice: whoever has the cluster's secret is trusted so far.
 * Source: cyrb53 by bryc, public domain; finished as MurmurHash3.
 */
export function hashText(text: string): readonly [number, number] {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let at = 0; at < text.length; at++) {
    const letter = text.charCodeAt(at)
    a = Math.imul(a ^ letter, 2_654_435_761)
    b = Math.imul(b ^ letter, 1_597_334_677)
  }
  return finish(a, b)
}

/** As {@link hashText}, of bytes. */
export function hashBytes(bytes: Uint8Array): readonly [number, number] {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 2_654_435_761)
    b = Math.imul(b ^ byte, 1_597_334_677)
  }
  return finish(a, b)
}

function finish(a: number, b: number): readonly [number, number] {
  const x = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909)
  const y = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(x ^ (x >>> 13), 3_266_489_909)
  return [x >>> 0, y >>> 0]
}
