import { styleText } from 'node:util'
import type { Command } from 'commander'
import { importTasks } from '../../app/import-tasks.js'
import { CeleriacError, NotPublishedError, PublishUncertainError } from '../../errors.js'
import { type Duration, toMs } from '../../internal/duration.js'
import { packageVersion } from '../../internal/package-version.js'
import { examineBroker } from '../doctor/broker.js'
import { area, type Finding } from '../doctor/finding.js'
import { examineQueues } from '../doctor/queues.js'
import { examineResults } from '../doctor/results.js'
import { examineSettings } from '../doctor/settings.js'
import { examineWorkers } from '../doctor/workers.js'
import { exitCodeOf, exitCodes } from '../exit-codes.js'
import { addTimeoutFlag } from '../remote-command.js'
import { type CommandContext, withApp } from '../with-app.js'

interface DoctorFlags {
  readonly timeout?: Duration
  readonly json?: true
}

export function define(command: Command): void {
  addTimeoutFlag(command)
    .option('--json', 'write one JSON object: every finding with its area, level, evidence and fix')
    .addHelpText(
      'after',
      `\nChanges nothing. Ends with ${exitCodes.ok} when nothing is at fault (there may be warnings), ${exitCodes.config} when something is, ${exitCodes.unavailable} when the broker cannot be reached.`,
    )
    .action(({ timeout = 1, json }: DoctorFlags) =>
      withApp(command, async (context) => {
        await importTasks(context.core)
        const { findings, code } = await examine(context, toMs(timeout, 'timeout'))
        if (json === true) context.terminal.data(JSON.stringify({ celeriac: packageVersion(), node: process.versions.node, findings }))
        else show(findings, context)
        process.exitCode = code
      }),
    )
}

/** What was found, and the code to end with. */
export async function examine(
  context: CommandContext,
  timeoutMs: number,
): Promise<{ readonly findings: readonly Finding[]; readonly code: number }> {
  const { core } = context
  const startMs = core.clock.monotonic()
  const findings: Finding[] = []
  try {
    const connection = await core.connections.publisher()
    const transport = core.connections.transportOf(connection)?.name
    findings.push(...(await examineBroker(context, connection, core.clock.monotonic() - startMs)))
    findings.push(...(await examineResults(context)), ...examineSettings(context, transport))
    findings.push(...(await examineWorkers(context, { timeoutMs, transport })), ...(await examineQueues(context)))
    return { findings, code: findings.some(({ level }) => level === 'fault') ? exitCodes.config : exitCodes.ok }
  } catch (error) {
    if (!(error instanceof CeleriacError)) throw error
    if (error instanceof NotPublishedError || error instanceof PublishUncertainError) {
      const fix = 'See whether the server has memory and disk space left: until it takes messages, workers cannot be asked'
      findings.push(area('broker')('messages', 'fault', error.message, fix))
      return { findings, code: exitCodes.config }
    }
    const fix = 'Check brokerUrl, and whether the server runs and lets this user in'
    const unreached = [
      area('broker')('reachable', 'fault', error.message, fix),
      ...(await examineResults(context)),
      ...examineSettings(context, undefined),
    ]
    return { findings: unreached, code: exitCodeOf(error) }
  }
}

const glyphs = { fine: '✓', warning: '!', fault: '✕', unknown: '?' } as const
const colors = { fine: 'green', warning: 'yellow', fault: 'red', unknown: 'gray' } as const

function show(findings: readonly Finding[], { terminal, flags }: CommandContext): void {
  const isColoured = flags.color && process.stdout.isTTY === true && process.stdout.hasColors()
  for (const { area: name, about, level, evidence, fix } of findings) {
    const glyph = isColoured ? styleText(colors[level], glyphs[level]) : glyphs[level]
    terminal.data(`${glyph} ${name}: ${about}: ${evidence}`)
    if (fix !== undefined) terminal.data(`    ${fix}`)
  }
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length
  terminal.note(
    `\n${count('fine')} fine, ${count('warning')} to look at, ${count('fault')} at fault${count('unknown') === 0 ? '' : `, ${count('unknown')} unknown`}`,
  )
}
