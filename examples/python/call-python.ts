import { TaskFailure } from 'celeriac'
import { app } from './tasks.ts'

interface PythonTasks {
  'python.mean': (numbers: number[]) => number
}
const python = app.remotes<PythonTasks>()

const handle = await python['python.mean'].delay([1, 2, 6])
console.log(await handle.get({ timeout: '10s' })) // 3

try {
  await python['python.mean'].delay([]).get({ timeout: '10s' })
} catch (error) {
  if (error instanceof TaskFailure) console.log(`${error.excType}: ${error.message}`) // ValueError: no numbers
}
