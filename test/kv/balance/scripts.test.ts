import { goldenScripts } from '../../golden.ts'
import { ScriptedCluster } from './script.ts'

goldenScripts(new URL('scripts', import.meta.url).pathname, () => {
  const cluster = new ScriptedCluster()
  return (command) => cluster.run(command)
})
