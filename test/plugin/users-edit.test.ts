import { lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseStoredPassword, verifyPassword } from '../../src/plugin/auth/password.ts'
import { parseUsersFile, userKey } from '../../src/plugin/auth/users-file.ts'
import { deleteUser, listUsers, setPassword } from '../../src/plugin/index.ts'
import { temporaryFolder } from './helpers.ts'

async function accepts(file: string, tenant: string, user: string, password: string): Promise<boolean> {
  const stored = parseUsersFile(readFileSync(file, 'utf8'), file).users.get(userKey(tenant, user))?.password
  return stored ? verifyPassword(stored, Buffer.from(password)) : false
}

test('makes the file, adds, changes and deletes', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'users.yml')
  expect(await setPassword(file, { user: 'alice', password: 'one' })).toBe('added')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(await setPassword(file, { tenant: 'acme', user: 'alice', password: 'two' })).toBe('added')
  expect(await setPassword(file, { user: 'alice', password: 'three' })).toBe('changed')
  expect([await accepts(file, 'default', 'alice', 'three'), await accepts(file, 'default', 'alice', 'one')]).toEqual([
    true,
    false,
  ])
  expect(await accepts(file, 'acme', 'alice', 'two')).toBe(true)
  expect(await listUsers(file)).toEqual([
    { tenant: 'default', user: 'alice', superuser: false },
    { tenant: 'acme', user: 'alice', superuser: false },
  ])
  expect(await deleteUser(file, { user: 'alice' })).toBe(true)
  expect(await deleteUser(file, { user: 'alice' })).toBe(false)
  expect((await listUsers(file)).map((user) => user.tenant)).toEqual(['acme'])
  expect(await deleteUser(file, { tenant: 'acme', user: 'alice' })).toBe(true)
  expect(await setPassword(file, { user: 'again', password: 'x' })).toBe('added')
  expect(readdirSync(folder)).toEqual(['users.yml'])
})

test('comments, order, rules and the rights of the file stay', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'users.yml')
  const text = readFileSync('conf/users.example.yml', 'utf8')
  writeFileSync(file, text, { mode: 0o640 })
  const plain = (yaml: string) => yaml.replace(/\$scrypt\S+(?=")/g, '')
  await setPassword(file, { tenant: 'acme', user: 'backend', password: 'new' })
  expect(plain(readFileSync(file, 'utf8'))).toBe(plain(text))
  await setPassword(file, { tenant: 'acme', user: 'extra', password: 'new' })
  await deleteUser(file, { tenant: 'acme', user: 'extra' })
  // An added user has the file written anew: spaces and empty lines may change, nothing else.
  const words = (yaml: string) => plain(yaml).replace(/\s+/g, '')
  expect(words(readFileSync(file, 'utf8'))).toBe(words(text))
  expect(await accepts(file, 'acme', 'backend', 'new')).toBe(true)
  expect(statSync(file).mode & 0o777).toBe(0o640)
})

test('a file of mosquitto stays one, with hashes that mosquitto reads', async () => {
  const file = join(temporaryFolder(), 'passwd')
  const hash =
    '$7$101$3lB8uevCJKY5zaYh$wEtm2/H/Ve3/Jduf1vf7Yt1V1KKILCQxZAZlykz1Dr6YZJo/E2df2ERl3W7M3EOHzQLIcp+DfMSAhHQvyYA5EA=='
  writeFileSync(file, `# ours\nalice:${hash}\ndefault/bob:${hash}\n`)
  expect(await setPassword(file, { tenant: 'acme', user: 'carol', password: 'c' })).toBe('added')
  expect(await setPassword(file, { user: 'bob', password: 'b' })).toBe('changed')
  const lines = readFileSync(file, 'utf8').split('\n')
  expect(lines.map((line) => line.split(':')[0])).toEqual(['# ours', 'alice', 'default/bob', 'acme/carol', ''])
  expect(parseStoredPassword(lines[3]!.slice('acme/carol:'.length))).toMatchObject({
    kind: 'pbkdf2',
    iterations: 210_000,
  })
  expect(await accepts(file, 'default', 'bob', 'b')).toBe(true)
  expect(await deleteUser(file, { user: 'alice' })).toBe(true)
  expect(readFileSync(file, 'utf8')).toMatch(/^# ours\ndefault\/bob:.*\nacme\/carol:.*\n$/)
})

test('edits at the same time all count', async () => {
  const file = join(temporaryFolder(), 'users.yml')
  const names = Array.from({ length: 4 }, (_, i) => `u${i}`)
  await Promise.all(names.map((user) => setPassword(file, { user, password: user })))
  expect((await listUsers(file)).map(({ user }) => user).sort()).toEqual(names)
})

test('what another process writes meanwhile is not lost', async () => {
  const file = join(temporaryFolder(), 'users.yml')
  writeFileSync(file, 'users: []\n')
  const edit = setPassword(file, { user: 'a', password: 'a' })
  // The file is read at once, and written when the hash is ready, a hundred times later.
  for (let i = 0; i < 10; i++) await readFile(file)
  writeFileSync(file, 'users:\n  - name: theirs\n')
  expect(await edit).toBe('added')
  expect((await listUsers(file)).map(({ user }) => user)).toEqual(['theirs', 'a'])
})

test('a link stays a link', async () => {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'real'))
  writeFileSync(join(folder, 'real', 'users.yml'), 'users: []\n')
  symlinkSync(join(folder, 'real', 'users.yml'), join(folder, 'users.yml'))
  await setPassword(join(folder, 'users.yml'), { user: 'a', password: 'a' })
  expect(lstatSync(join(folder, 'users.yml')).isSymbolicLink()).toBe(true)
  expect(await accepts(join(folder, 'real', 'users.yml'), 'default', 'a', 'a')).toBe(true)
})

test('nothing is written where the file or the name is wrong', async () => {
  const folder = temporaryFolder()
  const file = join(folder, 'users.yml')
  writeFileSync(file, 'users:\n  - nmae: a\n')
  await expect(setPassword(file, { user: 'a', password: 'a' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  expect(readFileSync(file, 'utf8')).toBe('users:\n  - nmae: a\n')
  writeFileSync(file, 'users: []\n')
  await expect(setPassword(file, { tenant: 'a/b', user: 'a', password: 'a' })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
  })
  await expect(setPassword(file, { user: 'a\nb', password: 'a' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  expect(readFileSync(file, 'utf8')).toBe('users: []\n')
  expect(readdirSync(folder)).toEqual(['users.yml'])
  await expect(setPassword(join(folder, 'no', 'users.yml'), { user: 'a', password: 'a' })).rejects.toThrow('ENOENT')
})
