import { expect, test } from 'vitest'
import { Envelope, SEAL_BYTES } from '../../../../src/cluster/underlay/shell/envelope.ts'

const text = (opened: Uint8Array | string) => (typeof opened === 'string' ? opened : Buffer.from(opened).toString())
const bytes = Buffer.from('\x01 a packet')

const [one, two, both, none] = await Promise.all([
  Envelope.derive(['one']),
  Envelope.derive(['two']),
  Envelope.derive(['two', 'one']),
  Envelope.derive([]),
])

test('the first key seals, all open', () => {
  expect(text(one.open(one.seal(bytes, 'datagram'), 'datagram'))).toBe('\x01 a packet')
  expect(text(both.open(one.seal(bytes, 'datagram'), 'datagram'))).toBe('\x01 a packet')
  expect(text(two.open(both.seal(bytes, 'datagram'), 'datagram'))).toBe('\x01 a packet')
  expect(one.open(both.seal(bytes, 'datagram'), 'datagram')).toBe('undecryptable')
})

test('a sealed packet is longer by a fixed number of bytes, and twice the same is never the same', () => {
  const [a, b] = [one.seal(bytes, 'datagram'), one.seal(bytes, 'datagram')]
  expect(a.length).toBe(bytes.length + SEAL_BYTES)
  expect(Buffer.compare(a, b)).not.toBe(0)
  expect(Buffer.from(a).includes('packet')).toBe(false)
  const many = new Set(
    Array.from({ length: 2_000 }, () => Buffer.from(one.seal(bytes, 'datagram')).toString('hex', 1, 13)),
  )
  expect(many.size).toBe(2_000)
})

test('every changed bit, and every cut, is found', () => {
  const sealed = one.seal(bytes, 'datagram')
  for (let bit = 8; bit < sealed.length * 8; bit++) {
    const changed = Uint8Array.from(sealed)
    changed[bit >> 3]! ^= 1 << (bit & 7)
    expect(one.open(changed, 'datagram')).toBe('undecryptable')
  }
  for (let length = 1; length < sealed.length; length++)
    expect(one.open(sealed.subarray(0, length), 'datagram')).toBe('undecryptable')
  expect(one.open(new Uint8Array(0), 'datagram')).toBe('plain')
  expect(text(one.open(sealed, 'datagram'))).toBe('\x01 a packet')
})

test('what travelled in one way does not in another', () => {
  expect(one.open(one.seal(bytes, 'request'), 'answer')).toBe('undecryptable')
  expect(one.open(one.seal(bytes, 'answer'), 'request')).toBe('undecryptable')
  expect(one.open(one.seal(bytes, 'datagram'), 'request')).toBe('undecryptable')
  expect(text(one.open(one.seal(bytes, 'answer'), 'answer'))).toBe('\x01 a packet')
})

test('a replay is found among the last 16,384, also after the keys changed', async () => {
  const sealed = one.seal(bytes, 'datagram')
  one.open(sealed, 'datagram')
  expect(one.open(sealed, 'datagram')).toBe('replayed')
  const rotated = await Envelope.derive(['two', 'one'], one)
  expect(rotated.open(sealed, 'datagram')).toBe('replayed')
  for (let i = 0; i < 16_384; i++) one.open(one.seal(bytes, 'datagram'), 'datagram')
  expect(one.open(sealed, 'datagram')).toBe('replayed')
  // Memory is bounded: at some time it is forgotten.
  for (let i = 0; i < 16_384; i++) one.open(one.seal(bytes, 'datagram'), 'datagram')
  expect(text(one.open(sealed, 'datagram'))).toBe('\x01 a packet')
})

test('plain and sealed do not mix', () => {
  expect(none.encrypts).toBe(false)
  expect(none.seal(bytes, 'datagram')).toBe(bytes)
  expect(text(none.open(bytes, 'datagram'))).toBe('\x01 a packet')
  expect(none.open(one.seal(bytes, 'datagram'), 'datagram')).toBe('encrypted')
  expect(one.open(bytes, 'datagram')).toBe('plain')
})

test('a secret is the same however its letters were composed', async () => {
  const [composed, decomposed] = await Promise.all([Envelope.derive(['caf\u00e9']), Envelope.derive(['cafe\u0301'])])
  expect(text(composed.open(decomposed.seal(bytes, 'datagram'), 'datagram'))).toBe('\x01 a packet')
})
