import { TaskFailure } from 'celeriac'
import { app } from './tasks.ts'

interface PythonTasks {
  'python.mean': (numbers: number[]) => number
}
const python = app.remotes<PythonTasks>()

const mean = python['python.mean']
console.log(await mean.delay([1, 2, 6]).get({ timeout: '10s' })) // 3

const failed = await mean.delay([]).get({ timeout: '10s', propagate: false })
if (failed instanceof TaskFailure) console.log(`${failed.excType}: ${failed.message}`) // ValueError: no numbers
