import { describe, expect, test } from 'vitest'
import {
  type CertificateMapping,
  isTenantName,
  NO_CERTIFICATE_MAPPING,
  readClaim,
} from '../../src/plugin/auth/identity.ts'
import { NoAuth } from '../../src/plugin/auth/none.ts'
import { checkAnonymousBeyondLoopback, isLoopback } from '../../src/plugin/index.ts'
import { authRequest } from './helpers.ts'

const CERTIFICATE = { commonName: 'dev-1', subject: { CN: 'dev-1', O: 'acme', OU: 'a/b' }, fingerprint: 'f' }
const claim = (username: string | null, mapping: Partial<CertificateMapping> | null) =>
  readClaim(authRequest({ username, certificate: mapping === null ? null : CERTIFICATE }), {
    ...NO_CERTIFICATE_MAPPING,
    ...(mapping ?? { tenantFrom: 'o', userFrom: 'cn' }),
  })
const is = (tenant: string, user: string | null, proven = false) => ({ ok: true, tenant, user, proven })

describe('who a client claims to be', () => {
  test.each([
    ['a plain name', 'alice', {}, is('default', 'alice')],
    ['tenant/user', 'acme/alice', {}, is('acme', 'alice')],
    ['only the first slash counts', 'acme/a/b', {}, is('acme', 'a/b')],
    ['nobody', null, {}, is('default', null)],
    ['an empty name', '', {}, is('default', '')],
    ['no certificate where one could say it', 'other/bob', null, is('other', 'bob')],
    ['the tenant from the certificate', 'alice', { tenantFrom: 'o' }, is('acme', 'alice')],
    ['the same tenant twice', 'acme/alice', { tenantFrom: 'o' }, is('acme', 'alice')],
    ['nobody, with the tenant of the certificate', null, { tenantFrom: 'o' }, is('acme', null)],
    ['user and tenant from the certificate', 'x/y', { tenantFrom: 'o', userFrom: 'cn' }, is('acme', 'dev-1', true)],
    ['only the user from it: the name picks no tenant', 'acme/y', { userFrom: 'cn' }, is('default', 'dev-1', true)],
  ] as const)('%s', (_, username, mapping, expected) => expect(claim(username, mapping)).toEqual(expected))

  test.each([
    ['another tenant than the certificate', 'other/alice', { tenantFrom: 'o' }, 'names another tenant'],
    ['the default tenant, spelled out', 'default/alice', { tenantFrom: 'o' }, 'names another tenant'],
    ['an empty tenant', '/alice', {}, 'no tenant name'],
    ['a tenant with a wildcard', '+/alice', {}, 'no tenant name'],
    ['a field that is no tenant name', 'alice', { tenantFrom: 'ou' }, 'no tenant name'],
  ] as const)('%s is refused', (_, username, mapping, reason) => {
    expect(claim(username, mapping)).toEqual({ ok: false, reason: expect.stringContaining(reason) })
  })

  test('a field that is missing, or there several times, says nothing', () => {
    for (const subject of [{}, { O: ['acme', 'other'] as unknown as string }, { O: '' }]) {
      const certificate = { ...CERTIFICATE, subject: subject as Record<string, string> }
      for (const mapping of [
        { tenantFrom: 'o', userFrom: 'cn' },
        { tenantFrom: 'cn', userFrom: 'o' },
      ] as const) {
        expect(readClaim(authRequest({ certificate }), mapping)).toMatchObject({ ok: false })
      }
    }
  })

  test.each(['a', 'Ümläut-1', 'a.b_c:d@e', 'x'.repeat(64)])('%j is a tenant name', (name) =>
    expect(isTenantName(name)).toBe(true),
  )
  test.each(['', 'a/b', 'a b', '+', '#', 'a\0', 'x'.repeat(65), '(other)', 'a\n'])('%j is none', (name) =>
    expect(isTenantName(name)).toBe(false),
  )
})

describe('auth none', () => {
  test('lets anybody in, into the tenant of the user name, and permits all', () => {
    const auth = new NoAuth()
    expect(auth.authenticate(authRequest({ username: 'acme/alice', password: 'x' }))).toMatchObject({
      result: 'accepted',
      identity: { tenant: 'acme', user: 'alice', permissions: { all: true } },
    })
    expect(auth.authenticate(authRequest())).toMatchObject({ identity: { tenant: 'default', user: '' } })
    expect(auth.authenticate(authRequest({ username: ' /x' }))).toMatchObject({ result: 'refused', reasonCode: 0x86 })
  })

  test('takes the tenant from the certificate where the listener says so', () => {
    const auth = new NoAuth((listener) => ({ tenantFrom: listener === 'tls' ? 'o' : 'none', userFrom: 'none' }))
    const request = authRequest({ certificate: CERTIFICATE })
    expect(auth.authenticate({ ...request, listener: 'tls' })).toMatchObject({ identity: { tenant: 'acme' } })
    expect(auth.authenticate({ ...request, listener: 'tcp' })).toMatchObject({ identity: { tenant: 'default' } })
  })

  test.each([
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '[::1]',
    'localhost',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    'LOCALHOST',
  ])('%s stays on this machine', (host) => expect(isLoopback(host)).toBe(true))
  test.each([
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '',
    '128.0.0.1',
    'localhost.example.com',
    '127.evil.com',
    '::2',
    'fe80::1',
    '::ffff:10.0.0.1',
  ])('%j does not', (host) => expect(isLoopback(host)).toBe(false))

  test('other machines only when told so', () => {
    const listeners = [
      { name: 'tcp', type: 'tcp', host: '127.0.0.1' },
      { name: 'sock', type: 'unix', host: '' },
    ]
    checkAnonymousBeyondLoopback(listeners, false)
    const open = [...listeners, { name: 'ws', type: 'ws', host: '0.0.0.0' }]
    checkAnonymousBeyondLoopback(open, true)
    expect(() => checkAnonymousBeyondLoopback(open, false)).toThrow(
      'Cannot open listener "ws" on 0.0.0.0 with auth "none": anybody could do everything.',
    )
  })
})
