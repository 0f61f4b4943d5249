import { CeleriacError } from '../../errors.js'
import { formatDuration } from '../../internal/duration.js'
import type { CommandContext } from '../with-app.js'
import { area, type Finding } from './finding.js'

const finding = area('results')

export async function examineResults({ core: { config, connections, clock } }: CommandContext): Promise<readonly Finding[]> {
  if (config.resultBackend === 'disabled')
    return [finding('backend', 'fine', 'results are off (resultBackend is "disabled"): nobody can wait for a task')]
  const startMs = clock.monotonic()
  try {
    const backend = await connections.backend()
    // Of no task: an answer is all that is wanted.
    await backend.get('celeriac-doctor')
    const examined = await backend.examine?.()
    return [
      finding('reachable', 'fine', `${examined?.server ?? backend.name} answered within ${Math.ceil(clock.monotonic() - startMs)} ms`),
      ...(examined?.findings ?? []).map((one) => ({ area: 'results', ...one })),
      expiry(config.resultExpires),
    ]
  } catch (error) {
    if (!(error instanceof CeleriacError)) throw error
    return [finding('reachable', 'fault', error.message, 'Check resultBackend, and whether that server runs')]
  }
}

function expiry(seconds: number | null): Finding {
  if (seconds !== null && seconds > 0) return finding('expiry', 'fine', `results are kept for ${formatDuration(seconds)} (resultExpires)`)
  return finding('expiry', 'warning', 'results never expire: the store grows for ever', 'Set resultExpires, for instance to "1d"')
}
