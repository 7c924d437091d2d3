import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BrokerError } from '../../src/base/errors.ts'
import { FileRuleSet } from '../../src/plugin/auth/file-rules.ts'
import { verifyPassword } from '../../src/plugin/auth/password.ts'
import { isLineFormat, parseAclFile, parseUsersFile, userKey } from '../../src/plugin/auth/users-file.ts'

const HASH =
  '$6$M53drCWTFwyh8pJT$YN0u0hmwB14GRGyvoPzP1CVdBkXNyqCfpo7payExZQOFwpMyhUG0oO467Th4FtyITddka2UTip2pIBlkDFB9pA=='

const problemOf = (text: string, parse: (text: string, file: string) => unknown = parseUsersFile): string => {
  try {
    parse(text, 'u.yml')
  } catch (error) {
    expect(error).toBeInstanceOf(BrokerError)
    expect((error as BrokerError).code).toBe('CONFIG_INVALID')
    return (error as BrokerError).message
  }
  return 'none'
}

describe('YAML', () => {
  test('users, anonymous, rules', () => {
    const file = parseUsersFile(
      `
users:
  - { name: alice, tenant: acme, password: "${HASH}", superuser: true }
  - name: 7
  - name: a/b
anonymous: allow
acl:
  rules: [{ allow: publish, user: [x, 7], topics: "a/%u" }]
`,
      'u.yml',
    )
    expect([...file.users.keys()]).toEqual([
      userKey('acme', 'alice'),
      userKey('default', '7'),
      userKey('default', 'a/b'),
    ])
    expect(file.users.get(userKey('acme', 'alice'))).toMatchObject({ superuser: true, password: { kind: 'sha512' } })
    expect(file.users.get(userKey('default', '7'))).toMatchObject({ superuser: false, password: null })
    expect(file.anonymous).toBe(true)
    expect(file.acl).toMatchObject({ byDefault: 'deny', rules: [{ users: ['x', '7'], effect: 'allow' }] })
  })

  test('what is left out', () => {
    expect(parseUsersFile('users: []', 'u.yml')).toEqual({ users: new Map(), anonymous: false, acl: null })
  })

  test.each([
    ['', 1, 'expected a mapping'],
    ['# nothing\n', 1, 'expected a mapping'],
    ['acl: {}', 1, 'misses "users:"'],
    ['users: {}', 1, 'expected a list at "users"'],
    ['users: []\nuser: 1', 2, 'unknown key "user"; expected users, anonymous, acl'],
    ['users:\n  - name: a\n    pasword: x', 3, 'unknown key "pasword"'],
    ['users:\n  - tenant: a', 2, 'expected a text at "users.0.name"'],
    ['users:\n  - name: a\n  - name: a', 3, 'user "a" of tenant "default" is there twice'],
    ['users:\n  - name: a\n    tenant: "a b"', 2, '"a b" is no tenant name'],
    ['users:\n  - name: a\n    tenant: a/b', 2, '"a/b" is no tenant name'],
    ['users:\n  - name: ""', 2, 'no user name'],
    ['users:\n  - name: a\n    superuser: yes please', 3, 'expected true or false'],
    ['users:\n  - name: true', 2, 'quote what YAML takes for something else'],
    ['users: []\nanonymous: yes', 2, 'expected deny or allow'],
    ['users: [\n\n', 3, ''],
    ['users: []\nusers: []', 2, 'unique'],
    ['users: []\nacl: []', 2, 'expected a mapping with default, rules'],
    ['users: []\nacl:\n  default: maybe', 3, 'expected allow or deny'],
    ['users: []\nacl:\n  rules:\n    - topics: a', 4, 'either "allow:" or "deny:"'],
    ['users: []\nacl:\n  rules:\n    - {allow: both, deny: both, topics: a}', 4, 'either "allow:" or "deny:"'],
    ['users: []\nacl:\n  rules:\n    - allow: read\n      topics: a', 4, 'expected publish or subscribe or both'],
    ['users: []\nacl:\n  rules:\n    - allow: both', 4, 'expected a text at "acl.rules.0.topics"'],
    ['users: []\nacl:\n  rules:\n    - allow: both\n      topics: []', 5, 'at least one topic pattern'],
    ['users: []\nacl:\n  rules:\n    - allow: both\n      topics: [a, "b/%z"]', 5, 'topic pattern "b/%z" holds "%z"'],
    ['users: []\nacl:\n  rules:\n    - allow: both\n      topics: a#', 5, 'topic pattern "a#" is no topic filter'],
  ])('%j: line %d, %s', (text, line, problem) => {
    const message = problemOf(text)
    expect(message).toContain(problem)
    expect(message).toMatch(new RegExp(`^Cannot read "u.yml", line ${line}: `))
  })

  test('a password in the clear is refused and not repeated', () => {
    const message = problemOf('users:\n  - { name: a, password: hunter2 }')
    expect(message).toContain('the password of user "a" is no hash that can be read; make one with "flockmq passwd"')
    expect(message).not.toContain('hunter2')
  })

  test('aliases that multiply are refused', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}]`).join('\n')
    expect(() => parseUsersFile(`users: []\nl0: &l0 [x]\n${levels}`, 'u.yml')).toThrow(BrokerError)
  })

  test('a file of rules alone', () => {
    expect(parseAclFile('acl: { default: allow }', 'a.yml')).toEqual({ byDefault: 'allow', rules: [] })
    expect(problemOf('acl: {}\nusers: []', parseAclFile)).toContain('unknown key "users"')
    expect(problemOf('{}', parseAclFile)).toContain('misses "acl:"')
  })
})

describe('lines of mosquitto_passwd', () => {
  test('tenants by the same names that clients use', () => {
    const text = `# users\n\nalice:${HASH}\r\nacme/bob:${HASH}\n`
    expect(isLineFormat(text)).toBe(true)
    expect([...parseUsersFile(text, 'u').users.keys()]).toEqual([userKey('default', 'alice'), userKey('acme', 'bob')])
  })

  test.each(['users:\n  - name: a', 'users: []', '# a:$6$\nusers: []', '{users: []}', ''])('%j is none', (text) => {
    expect(isLineFormat(text)).toBe(false)
  })

  test.each([
    [`a:${HASH}\nb`, 2, 'expected "user:hash"'],
    [`a:${HASH}\n:x`, 2, 'expected "user:hash"'],
    [`a:${HASH}\n# b\nb:clear`, 3, 'the password of user "b" is no hash'],
    [`a:${HASH}\na:${HASH}`, 2, 'is there twice'],
    [`a:${HASH}\n a b/c:${HASH}`, 2, 'no tenant name'],
  ])('%#: line %d, %s', (text, line, problem) => {
    expect(problemOf(text)).toContain(`line ${line}: `)
    expect(problemOf(text)).toContain(problem)
  })
})

test('the example in conf/ does what its comments say', async () => {
  const file = parseUsersFile(readFileSync('conf/users.example.yml', 'utf8'), 'users.example.yml')
  const passwords = {
    'default\0admin': 'change-me-admin',
    'acme\0backend': 'change-me-acme',
    'acme\0sensor': 'change-me-sensor',
  }
  for (const [key, password] of Object.entries(passwords)) {
    expect(await verifyPassword(file.users.get(key)!.password!, Buffer.from(password))).toBe(true)
  }
  const rules = new FileRuleSet(file)
  const of = (tenant: string, user: string, clientId: string) =>
    rules.compile({ tenant, user, clientId, by: 'password' })
  expect(rules.permitsAll({ tenant: 'default', user: 'admin', clientId: 'x', by: 'password' })).toBe(true)
  expect(of('acme', 'sensor', 's1').publish('devices/s1/state')).toBe(true)
  expect(of('acme', 'sensor', 's1').publish('devices/s2/state')).toBe(false)
  expect(of('acme', 'sensor', 's1').subscribe('devices/s1/commands/#')).toBe(true)
  expect(of('acme', 'sensor', 's1').subscribe('devices/#')).toBe(false)
  expect(of('acme', 'backend', 'b').subscribe('devices/+/state')).toBe(true)
  expect(of('acme', 'backend', 'b').publish('secret/x')).toBe(false)
  expect(of('default', 'any', 'gateway-1').publish('health/gateway-1')).toBe(true)
})
