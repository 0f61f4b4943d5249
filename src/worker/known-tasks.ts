import type { ResultBackend } from '../backend.js'
import type { ResultMeta } from '../protocol/result.js'
import type { ActiveTask } from './active-task.js'

/** What the result backend knows of tasks that have come. */
export interface Known {
  /** Ids of those that were revoked. */
  readonly revoked: ReadonlySet<string>
  /** Of those that may have run before. */
  readonly stored: ReadonlyMap<string, ResultMeta>
}

const noIds: ReadonlySet<string> = new Set()
const noMetas: ReadonlyMap<string, ResultMeta> = new Map()

/** Has the backend learn what is revoked, with the links that it needs for it, before the first task has come and would wait for it. */
export function learning(backend: ResultBackend): ResultBackend {
  // What fails here fails again for those who need it, and is told by them.
  Promise.resolve(knownOf(backend, [])).catch(() => {})
  return backend
}

/** All are asked about at once. No promise where the backend has the answer at hand; never throws. */
export function knownOf(backend: ResultBackend, tasks: readonly ActiveTask[]): Known | Promise<Known> {
  const again = backend.supports.results ? tasks.filter(mayHaveRun).map((task) => task.head.id) : []
  let revoked: ReadonlySet<string> | Promise<ReadonlySet<string>>
  try {
    revoked = backend.supports.durableRevoke ? backend.revoked(tasks.map((task) => task.head.id)) : noIds
  } catch (error) {
    revoked = Promise.reject(error)
  }
  if (again.length === 0 && !(revoked instanceof Promise)) return { revoked, stored: noMetas }
  return ask(backend, revoked, again)
}

async function ask(
  backend: ResultBackend,
  asked: ReadonlySet<string> | Promise<ReadonlySet<string>>,
  again: readonly string[],
): Promise<Known> {
  const [revoked, stored] = await Promise.all([asked, again.length > 0 ? backend.getMany(again) : noMetas])
  return { revoked, stored }
}

/** Somebody may have run it before, or may be running it. */
function mayHaveRun({ delivery, head }: ActiveTask): boolean {
  return delivery.redelivered || head.resent
}
