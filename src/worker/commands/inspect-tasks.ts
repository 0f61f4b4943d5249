import { decodeFlag } from '../../protocol/mailbox.js'
import { toIso } from '../../protocol/time.js'
import type { ActiveTask } from '../active-task.js'
import { fill } from '../answers.js'
import type { CommandHandler, Panel } from '../panel.js'
import { taskInfo } from '../task-info.js'
import { textList } from './arguments.js'

const isRunning = ({ run }: ActiveTask): boolean => run?.start !== undefined

const infos = (panel: Panel, tasks: readonly ActiveTask[], safe = false): Promise<unknown> =>
  fill(tasks, (task) => taskInfo(panel.core, panel.hostname, task, { safe }))

export const active: CommandHandler = (panel, { safe }) => infos(panel, panel.held().filter(isRunning), decodeFlag(safe, 'safe'))

export const reserved: CommandHandler = (panel) => {
  const limited = new Set(panel.limited())
  return infos(
    panel,
    panel.held().filter((task) => !isRunning(task) && !limited.has(task)),
  )
}

/** Tasks that wait for their eta wait in the broker, in no worker's hands: here are those that wait for their rate limit. */
export const scheduled: CommandHandler = (panel) =>
  fill(panel.limited(), async (task) => ({
    eta: task.head.etaMs === null ? null : toIso(task.head.etaMs),
    priority: 6,
    request: await taskInfo(panel.core, panel.hostname, task, { safe: false }),
  }))

export const query_task: CommandHandler = async (panel, { ids }) => {
  const wanted = new Set(textList(ids, 'ids'))
  const limited = new Set(panel.limited())
  const found = panel.held().filter(({ head }) => wanted.has(head.id))
  const entries = await fill(found, async (task) => {
    const state = isRunning(task) ? 'active' : limited.has(task) ? 'scheduled' : 'reserved'
    return [task.head.id, [state, await taskInfo(panel.core, panel.hostname, task, { safe: false })]] as const
  })
  return Object.fromEntries(entries)
}

export const revoked: CommandHandler = (panel) => panel.revoked.ids.ids()
