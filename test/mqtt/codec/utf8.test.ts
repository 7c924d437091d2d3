import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isStrictUtf8 } from '../../../src/mqtt/codec/index.ts'
import { decodeUtf8 } from '../../../src/mqtt/codec/utf8.ts'

/** The platform's strict check, and no U+0000. */
function reference(bytes: Buffer): boolean {
  return isUtf8(bytes) && !bytes.includes(0)
}

describe('UTF-8', () => {
  test('every code point, in its right form', () => {
    for (let code = 0; code <= 0x10ffff; code++) {
      if (code >= 0xd800 && code <= 0xdfff) continue
      const bytes = Buffer.from(String.fromCodePoint(code))
      if (isStrictUtf8(bytes, 0, bytes.length) !== (code !== 0)) throw new Error(`U+${code.toString(16)}`)
    }
  })

  test('every sequence of one and two bytes, and the corners of three and four', () => {
    const corners = [0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xed, 0xf0, 0xf4]
    const sequences: number[][] = []
    for (let a = 0; a < 256; a++) {
      sequences.push([a])
      for (let b = 0; b < 256; b++) sequences.push([a, b])
      for (const b of corners) {
        for (const c of corners) {
          sequences.push([a, b, c])
          for (const d of corners) sequences.push([a, b, c, d])
        }
      }
    }
    for (const sequence of sequences) {
      const bytes = Buffer.from(sequence)
      if (isStrictUtf8(bytes, 0, bytes.length) !== reference(bytes)) throw new Error(`${sequence}`)
    }
  })

  test('strings inside other bytes', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
      fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
      fc.constant(Buffer.from('plain ASCII')),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 4 }), (pieces) => {
        const content = Buffer.concat(pieces)
        const inside = Buffer.concat([Buffer.from([0xc3]), content, Buffer.from([0x80, 0x80])])
        expect(decodeUtf8(inside, 1, 1 + content.length)).toBe(reference(content) ? content.toString() : null)
      }),
      { numRuns: 2000, seed: 6 },
    )
  })

  test('U+FEFF is a character [MQTT-1.5.4-3]', () => {
    expect(decodeUtf8(Buffer.from('efbbbf61', 'hex'), 0, 4)).toBe('\ufeffa')
  })
})
