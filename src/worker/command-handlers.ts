import { findCommand } from '../control/command-table.js'
import * as changeTasks from './commands/change-tasks.js'
import {
  add_consumer,
  autoscale,
  cancel_consumer,
  pause_queue,
  pool_grow,
  pool_restart,
  pool_shrink,
  resume_queue,
  shutdown,
} from './commands/change-worker.js'
import * as cluster from './commands/cluster.js'
import * as inspectTasks from './commands/inspect-tasks.js'
import { active_queues, clock, conf, memdump, memsample, objgraph, ping, registered, report, stats } from './commands/inspect-worker.js'
import type { CommandHandler } from './panel.js'

const { disable_events, election, enable_events, heartbeat, hello } = cluster
const { active, query_task, reserved, revoked, scheduled } = inspectTasks
const { rate_limit, revoke, revoke_by_stamped_headers, terminate, time_limit } = changeTasks

/** By the names of control/command-table. */
const handlers: Readonly<Record<string, CommandHandler>> = {
  active,
  active_queues,
  add_consumer,
  autoscale,
  cancel_consumer,
  clock,
  conf,
  disable_events,
  election,
  enable_events,
  heartbeat,
  hello,
  memdump,
  memsample,
  objgraph,
  pause_queue,
  ping,
  pool_grow,
  pool_restart,
  pool_shrink,
  query_task,
  rate_limit,
  registered,
  report,
  reserved,
  resume_queue,
  revoke,
  revoke_by_stamped_headers,
  revoked,
  scheduled,
  shutdown,
  stats,
  terminate,
  time_limit,
}

/** Whether a worker obeys a command; commands of the app go by their own names. */
export function isAllowed(allowed: readonly string[] | null, method: string): boolean {
  if (allowed === null) return true
  const spec = findCommand(method)
  return allowed.includes(method) || (spec !== undefined && (allowed.includes(spec.name) || allowed.includes(spec.kind)))
}

/** What runs a command of Celery, by its name or an older one. */
export function handlerOf(method: string): CommandHandler | undefined {
  const name = findCommand(method)?.name
  return name === undefined || !Object.hasOwn(handlers, name) ? undefined : handlers[name]
}
