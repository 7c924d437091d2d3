import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDataFolder, prepareDataFolder } from '../../src/node/folder/data-folder.ts'
import { acquireLock, findHolder } from '../../src/node/folder/folder-lock.ts'
import { StoredIncarnations } from '../../src/node/folder/incarnations.ts'
import { processMark } from '../../src/node/folder/process-mark.ts'

const root = mkdtempSync(join(tmpdir(), 'flockmq-folder-'))
let count = 0

function emptyFolder(): string {
  const path = join(root, String(++count))
  mkdirSync(path)
  return path
}

/** A process that lives, and that is not this one. */
async function liveProcess(): Promise<{ pid: number; end(): Promise<void> }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  await once(child, 'spawn')
  return {
    pid: child.pid!,
    end: async () => {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

test('a new folder is made, marked, held and given back', () => {
  const path = join(root, 'new', 'deep')
  const folder = openDataFolder(path)
  expect(folder.path).toBe(path)
  expect(JSON.parse(readFileSync(join(path, 'flockmq.json'), 'utf8'))).toMatchObject({
    format: 1,
    hostId: folder.hostId,
  })
  expect(readFileSync(join(path, 'flockmq.pid'), 'utf8').split('\n')[0]).toBe(String(process.pid))
  expect(findHolder(path)).toMatchObject({ pid: process.pid, api: '' })
  folder.lock.publish('http://127.0.0.1:1')
  expect(findHolder(path)).toMatchObject({ pid: process.pid, api: 'http://127.0.0.1:1' })
  folder.lock.release()
  expect(readdirSync(path)).toEqual(['flockmq.json'])
  const again = openDataFolder(path)
  expect(again.hostId).toBe(folder.hostId)
  again.lock.release()
})

test('a mount point and the traces of a first start that crashed are no foreign folder', () => {
  const path = emptyFolder()
  mkdirSync(join(path, 'lost+found'))
  for (const name of ['flockmq.json.new', 'flockmq.log', 'flockmq.pid'])
    writeFileSync(join(path, name), '9999999\nx\n\n')
  openDataFolder(path).lock.release()
  expect(existsSync(join(path, 'flockmq.json'))).toBe(true)
})

test('a foreign folder is refused, and nothing in it is touched', () => {
  const path = emptyFolder()
  writeFileSync(join(path, 'thesis.tex'), 'x')
  expect(() => openDataFolder(path)).toThrow(/it holds other things \(thesis\.tex\) and no flockmq\.json/)
  expect(readdirSync(path)).toEqual(['thesis.tex'])
})

const formats: [string, string][] = [
  ['{"format":2,"hostId":"x"}', 'its format 2 is newer than 1'],
  ['{"format":1}', 'damaged or not ours'],
  ['{"format":1,"hostId":""}', 'damaged or not ours'],
  ['null', 'damaged or not ours'],
  ['{"form', 'damaged or not ours'],
]
test.each(formats)('the format file %s is refused', (text, problem) => {
  const path = emptyFolder()
  writeFileSync(join(path, 'flockmq.json'), text)
  expect(() => openDataFolder(path)).toThrow(problem)
  expect(readdirSync(path)).toEqual(['flockmq.json'])
  expect(readFileSync(join(path, 'flockmq.json'), 'utf8')).toBe(text)
})

test('what is no folder is refused in one line', () => {
  const path = join(emptyFolder(), 'file')
  writeFileSync(path, '')
  expect(() => prepareDataFolder(path)).toThrow(
    `Cannot use the data folder "${path}": a part of the path is a file and no folder`,
  )
  expect(() => prepareDataFolder(join(path, 'x'))).toThrow('a part of the path is a file')
})

test('a live process keeps the folder', async () => {
  const other = await liveProcess()
  const path = emptyFolder()
  writeFileSync(join(path, 'flockmq.pid'), `${other.pid}\n${processMark(other.pid)}\nhttp://x\n`)
  expect(findHolder(path)).toEqual({ pid: other.pid, mark: processMark(other.pid), api: 'http://x' })
  expect(() => openDataFolder(path)).toThrow(`process ${other.pid} runs on it`)
  await other.end()
  expect(findHolder(path)).toBeNull()
  openDataFolder(path).lock.release()
})

test('a pid that another process has by now holds nothing', async () => {
  const other = await liveProcess()
  const path = emptyFolder()
  writeFileSync(join(path, 'flockmq.pid'), `${other.pid}\n${processMark(other.pid)}9\n\n`)
  expect(findHolder(path)).toBeNull()
  openDataFolder(path).lock.release()
  await other.end()
})

test('an empty pid file is somebody about to write it, or somebody who died', () => {
  const path = emptyFolder()
  const file = join(path, 'flockmq.pid')
  writeFileSync(file, '')
  expect(() => acquireLock(path)).toThrow('another flockmq is starting on it')
  utimesSync(file, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000))
  acquireLock(path).release()
  expect(readdirSync(path)).toEqual([])
})

test('only one process at a time replaces a stale pid file', async () => {
  const other = await liveProcess()
  const path = emptyFolder()
  writeFileSync(join(path, 'flockmq.pid'), '9999999\nx\n\n')
  writeFileSync(join(path, 'flockmq.pid.takeover'), `${other.pid}\n${processMark(other.pid)}\n\n`)
  expect(() => acquireLock(path)).toThrow('another flockmq is starting on it')
  expect(readFileSync(join(path, 'flockmq.pid'), 'utf8')).toContain('9999999')
  await other.end()
  expect(() => acquireLock(path)).toThrow('try again')
  acquireLock(path).release()
  expect(readdirSync(path)).toEqual([])
})

test('a lock that another process took over is not removed', () => {
  const path = emptyFolder()
  const lock = acquireLock(path)
  writeFileSync(join(path, 'flockmq.pid'), '1\nx\n\n')
  lock.release()
  expect(readdirSync(path)).toEqual(['flockmq.pid'])
})

test('the mark of a process tells it from others', async () => {
  const other = await liveProcess()
  expect(processMark(process.pid)).toBe(processMark(process.pid))
  expect(processMark(other.pid)).not.toBeNull()
  expect(processMark(other.pid)).not.toBe(processMark(process.pid))
  await other.end()
  expect(processMark(other.pid)).toBeNull()
})

test('incarnations rise over restarts; a damaged number stops the start', () => {
  const path = emptyFolder()
  expect([new StoredIncarnations(path).next(), new StoredIncarnations(path).next()]).toEqual([1, 2])
  const later = new StoredIncarnations(path)
  expect([later.next(), later.next()]).toEqual([3, 4])
  writeFileSync(join(path, 'incarnation'), 'x')
  expect(() => later.next()).toThrow('damaged')
})
