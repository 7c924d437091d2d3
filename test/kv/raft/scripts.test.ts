import { join } from 'node:path'
import { describe } from 'vitest'
import { goldenScripts } from '../../golden.ts'
import { ScriptedGroup } from './script.ts'

describe('raft', () =>
  goldenScripts(join(import.meta.dirname, 'scripts'), () => {
    const group = new ScriptedGroup()
    return (command) => group.run(command)
  }))
