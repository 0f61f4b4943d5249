/** The workers that answer: who they are, and whether they agree with this app, with each other and with the clock. */
import { Monitor } from '../../app/monitor.js'
import type { Reply } from '../../control/client.js'
import { formatDuration } from '../../internal/duration.js'
import { packageVersion } from '../../internal/package-version.js'
import { safeText } from '../../internal/safe-text.js'
import { isRecord } from '../../protocol/plain.js'
import type { CommandContext } from '../with-app.js'
import { mostSkewMs } from './broker.js'
import { contentName } from './content-name.js'
import { area, type Finding } from './finding.js'
import { visibilitySeconds } from './time-limits.js'

const finding = area('workers')

interface Seen {
  readonly software: string
  readonly aheadMs: number
}

export async function examineWorkers(
  context: CommandContext,
  { timeoutMs, transport }: { readonly timeoutMs: number; readonly transport: string | undefined },
): Promise<readonly Finding[]> {
  const { control } = context.core
  const [pings, confs, seen] = await Promise.all([
    control.ask({ method: 'ping', arguments: {} }, { timeoutMs }),
    control.ask({ method: 'conf', arguments: { with_defaults: true } }, { timeoutMs }),
    heartbeats(context, timeoutMs),
  ])
  const names = [...new Set(pings.map(({ hostname }) => hostname))].sort()
  if (names.length === 0)
    return [
      finding(
        'online',
        'warning',
        `no worker answered within ${formatDuration(timeoutMs / 1000)}`,
        'Start one: celeriac worker. If one runs, look at -A, the broker, and workerEnableRemoteControl',
      ),
    ]
  return [
    finding('online', 'fine', `${names.length}: ${names.map((name) => safeText(name)).join(', ')}`),
    ...sameName(pings),
    ...serializers(context, confs),
    ...written(context, confs),
    ...(transport === 'redis' ? visibility(context, confs) : []),
    clocks(seen),
    ...versions(seen),
  ]
}

function sameName(pings: readonly Reply[]): readonly Finding[] {
  const counts = new Map<string, number>()
  for (const { hostname } of pings) counts.set(hostname, (counts.get(hostname) ?? 0) + 1)
  return [...counts]
    .filter(([, count]) => count > 1)
    .map(([name, count]) =>
      finding(
        'names',
        'fault',
        `${count} workers are called ${safeText(name)}: nobody can tell them apart, and a command to one of them reaches all or any`,
        'Give each a name of its own: celeriac worker --hostname NAME@%h',
      ),
    )
}

function serializers({ core: { config } }: CommandContext, confs: readonly Reply[]): readonly Finding[] {
  const sent = contentName(config.taskSerializer)
  const findings = confs.flatMap(({ hostname, reply }) => {
    if (!isRecord(reply)) return []
    const accepted = textsIn(reply.accept_content).map(contentName)
    if (accepted.length === 0 || accepted.includes(sent)) return []
    return [
      finding(
        'serializers',
        'fault',
        `this app sends tasks as ${sent}, and ${safeText(hostname)} accepts ${safeText(accepted.join(', '))} only: it cannot run them`,
        `Add ${sent} to accept_content of that worker, or set taskSerializer to what it accepts`,
      ),
    ]
  })
  if (findings.length > 0) return findings
  return [finding('serializers', 'fine', `all that answered accept ${sent}, as which this app sends tasks`)]
}

/** What workers send themselves, which this app's workers have to read, and how they write results: of those, JSON alone is read. */
export function written({ core: { config } }: Pick<CommandContext, 'core'>, confs: readonly Reply[]): readonly Finding[] {
  const accepted = config.acceptContent.map(contentName)
  return confs.flatMap(({ hostname, reply }) => {
    if (!isRecord(reply)) return []
    const [tasks, results] = [reply.task_serializer, reply.result_serializer].map((given) =>
      typeof given === 'string' ? contentName(given) : undefined,
    )
    const findings: Finding[] = []
    if (tasks !== undefined && !accepted.includes(tasks))
      findings.push(
        finding(
          'serializers',
          'fault',
          safeText(`${hostname} writes tasks as ${tasks}, and this app accepts ${accepted.join(', ')} only`),
          'Set task_serializer of that worker to what this app accepts, or add it to acceptContent',
        ),
      )
    if (results !== undefined && results !== 'json')
      findings.push(
        finding(
          'serializers',
          'fault',
          safeText(`${hostname} writes results as ${results}, and this app reads them as JSON only`),
          'Set result_serializer of that worker to "json"',
        ),
      )
    return findings
  })
}

/** Each sweeps after its own: the shortest takes messages away from those who count on a longer one. */
function visibility(context: CommandContext, confs: readonly Reply[]): readonly Finding[] {
  const own = visibilitySeconds(context)
  return confs.flatMap(({ hostname, reply }) => {
    const options = isRecord(reply) ? reply.broker_transport_options : undefined
    if (!isRecord(options)) return []
    const theirs = Number(options.visibility_timeout ?? options.visibilityTimeout ?? own)
    if (!Number.isFinite(theirs) || theirs === own) return []
    return [
      finding(
        'visibility timeout',
        'warning',
        `${safeText(hostname)} has a visibility timeout of ${formatDuration(theirs)}, this app one of ${formatDuration(own)}: whoever has the shorter one takes messages away from Python workers that have the longer`,
        'Set the same visibility_timeout everywhere',
      ),
    ]
  })
}

function clocks(seen: ReadonlyMap<string, Seen>): Finding {
  if (seen.size === 0)
    return finding('clocks', 'unknown', 'no worker sent a heartbeat: those that run without (--without-heartbeat) tell no time')
  const off = [...seen].filter(([, { aheadMs }]) => Math.abs(aheadMs) > mostSkewMs)
  if (off.length === 0)
    return finding('clocks', 'fine', `those of ${seen.size === 1 ? '1 worker' : `${seen.size} workers`} agree with this machine's`)
  const shown = off.map(([name, { aheadMs }]) => `${safeText(name)} ${(aheadMs / 1000).toFixed(1)} s`)
  return finding(
    'clocks',
    'warning',
    `compared with this machine's: ${shown.join(', ')}`,
    'Let all follow a time server (NTP): etas and expiry times are read on the clocks of workers',
  )
}

/** Of each software, and of this program. */
function versions(seen: ReadonlyMap<string, Seen>): readonly Finding[] {
  if (seen.size === 0) return []
  const workers = [...new Set([...seen.values()].map(({ software }) => software))].sort()
  const shown = workers.map((text) => safeText(text)).join(', ')
  const names = [...new Set([...workers, `celeriac ${packageVersion()}`])].map((software) => software.split(' ', 1)[0])
  if (new Set(names).size === names.length) return [finding('versions', 'fine', `workers run ${shown}`)]
  return [
    finding(
      'versions',
      'warning',
      `different versions at once: workers run ${shown}, and this program is celeriac ${packageVersion()}`,
      'Finish the upgrade',
    ),
  ]
}

/** Workers of both languages beat when they are asked to, and say when by their own clocks. */
async function heartbeats({ core }: CommandContext, timeoutMs: number): Promise<ReadonlyMap<string, Seen>> {
  const seen = new Map<string, Seen>()
  const monitor = new Monitor(core, {
    routingKey: 'worker.#',
    onEvent: ({ type, hostname, timestamp, sw_ident: ident, sw_ver: version }) => {
      if (type === 'worker-heartbeat')
        seen.set(hostname, { software: `${String(ident)} ${String(version)}`, aheadMs: timestamp * 1000 - core.clock.now() })
    },
  })
  await monitor.open()
  try {
    await new Promise<void>((resolve) => core.clock.setTimer(timeoutMs, resolve, { keepAlive: true }))
  } finally {
    await monitor.close()
  }
  return seen
}

function textsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
