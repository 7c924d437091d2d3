import { expect, test } from 'vitest'
import {
  costMicroseconds,
  decoyPassword,
  hashPassword,
  hashPasswordForMosquitto,
  parseStoredPassword,
  verifyPassword,
} from '../../src/plugin/auth/password.ts'

const CHEAP = { log2Cost: 4, blockSize: 8, parallel: 1 }

/** Written by mosquitto_passwd 2.0.11 (`$7$`, and `-H sha512` for `$6$`). */
const FROM_MOSQUITTO = [
  [
    'secret1',
    '$7$101$3lB8uevCJKY5zaYh$wEtm2/H/Ve3/Jduf1vf7Yt1V1KKILCQxZAZlykz1Dr6YZJo/E2df2ERl3W7M3EOHzQLIcp+DfMSAhHQvyYA5EA==',
  ],
  [
    'pä$$:word',
    '$6$M53drCWTFwyh8pJT$YN0u0hmwB14GRGyvoPzP1CVdBkXNyqCfpo7payExZQOFwpMyhUG0oO467Th4FtyITddka2UTip2pIBlkDFB9pA==',
  ],
]
/** RFC 7914, section 12: N = 1024, r = 8, p = 16. */
const RFC_7914 = `$scrypt$ln=10,r=8,p=16$${Buffer.from('NaCl').toString('base64')}$${Buffer.from(
  'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640',
  'hex',
).toString('base64')}`

const verify = (text: string, password: string) => verifyPassword(parseStoredPassword(text)!, Buffer.from(password))

test.each([...FROM_MOSQUITTO, ['password', RFC_7914]] as [string, string][])(
  '%s fits %s and nothing else does',
  async (password, text) => {
    expect(await verify(text, password)).toBe(true)
    for (const wrong of ['', `${password} `, password.slice(1), password.toUpperCase()]) {
      expect(await verify(text, wrong)).toBe(false)
    }
  },
)

test('a new hash is read again, and no two are alike', async () => {
  const [a, b] = [await hashPassword('pä ß', CHEAP), await hashPassword('pä ß', CHEAP)]
  expect(a).toMatch(/^\$scrypt\$ln=4,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  expect(a).not.toBe(b)
  expect(await verify(a, 'pä ß')).toBe(true)
  expect(await verify(b, 'pä s')).toBe(false)
  expect(await verify(await hashPasswordForMosquitto('x', 101), 'x')).toBe(true)
})

test('by default a hash costs 32 MiB', async () => {
  expect(await hashPassword('x')).toMatch(/^\$scrypt\$ln=15,r=8,p=1\$/)
})

test.each([
  ...['', 'secret', '$', '$scrypt$', '$1$abc$def', '$2b$10$abcdefghijklmnopqrstuv', '$argon2id$v=19$m=1,t=1,p=1$YQ$YQ'],
  ...['$scrypt$ln=99,r=8,p=1$YWFh$YWFhYWFhYWFhYWFhYWFhYWFh', '$scrypt$ln=0,r=8,p=1$YWFh$YWFhYWFhYWFhYWFhYWFhYWFh'],
  ...['$scrypt$ln=10,r=8,p=17$YWFh$YWFhYWFhYWFhYWFhYWFhYWFh', '$scrypt$ln=4,r=8,p=1$YWFh$YWFh'],
  ...['$scrypt$ln=19,r=8,p=1$YWFh$YWFhYWFhYWFhYWFhYWFhYWFh', '$scrypt$ln=4,r=8,p=1$$YWFhYWFhYWFhYWFhYWFhYWFh'],
  ...['$7$0$YWFh$YWFhYWFhYWFhYWFhYWFhYWFh', '$7$99999999$YWFh$YWFhYWFhYWFhYWFhYWFhYWFh', '$7$101$YWFh', '$6$YWFh$YWFh'],
  ...['$scrypt$ln=4,r=8,p=1$YW!h$YWFhYWFhYWFhYWFhYWFhYWFh'],
])('%s is refused', (text) => expect(parseStoredPassword(text)).toBeNull())

test('a decoy is as costly as the costliest, and nobody knows it', async () => {
  const texts = [...FROM_MOSQUITTO.map(([, text]) => text!), await hashPassword('x', CHEAP)]
  const stored = texts.map((text) => parseStoredPassword(text)!)
  const decoy = decoyPassword(stored)
  expect(decoy.kind).toBe('scrypt')
  expect(costMicroseconds(decoy)).toBe(Math.max(...stored.map(costMicroseconds)))
  expect(await verifyPassword(decoy, Buffer.from('x'))).toBe(false)
  expect(decoyPassword(stored).hash).not.toEqual(decoy.hash)
  expect(decoyPassword([])).toMatchObject({ kind: 'scrypt', log2Cost: 15 })
})
