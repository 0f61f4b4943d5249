import { pausesOf } from '../../app/queue-pauses.js'
import { safeText } from '../../internal/safe-text.js'
import { age } from '../commands/queues.js'
import { queueRows } from '../queue-rows.js'
import type { CommandContext } from '../with-app.js'
import { area, type Finding } from './finding.js'

const finding = area('queues')

export async function examineQueues(context: CommandContext): Promise<readonly Finding[]> {
  const { app, core } = context
  const rows = await queueRows(context)
  const findings: Finding[] = []
  for (const { queue, waiting, consumers, paused, oldestSeconds } of rows) {
    const name = safeText(queue)
    const what = `${waiting} ${waiting === 1 ? 'message waits' : 'messages wait'} in ${name}`
    const since = oldestSeconds === null ? '' : `, the oldest for ${age(oldestSeconds)}`
    if (paused) {
      const { atMs } = (await pausesOf(core, [queue])).get(queue) ?? { atMs: 0 }
      const when = atMs === 0 ? '' : ` since ${new Date(atMs).toISOString()}`
      findings.push(finding('paused', 'warning', `${name} is paused${when}; ${what}${since}`, `celeriac resume ${name}`))
    } else if (consumers === 0)
      findings.push(
        waiting === 0
          ? finding('consumers', 'warning', `no worker takes from ${name}`, `Start a worker: celeriac worker -Q ${name}`)
          : finding('consumers', 'fault', `${what}${since}, and no worker takes from it`, `Start a worker: celeriac worker -Q ${name}`),
      )
  }
  if (findings.length === 0)
    findings.push(finding('consumers', 'fine', `${rows.map(({ queue }) => safeText(queue)).join(', ')}: workers take from all`))
  const dead = await app.deadLetters.count()
  findings.push(
    dead === 0
      ? finding('dead letters', 'fine', 'none')
      : finding(
          'dead letters',
          'warning',
          `${dead} ${dead === 1 ? 'message' : 'messages'} could not be run`,
          'celeriac dead list shows why; dead replay sends them again, dead drop removes them',
        ),
  )
  return findings
}
