import type { AppCore } from '../app/core.js'
import { type Health, healthRoutes } from './health.js'
import type { OpenPort, PortRoutes } from './http-port.js'

/** The ports that the worker was told to open. Who wants none loads no HTTP server. */
export async function openWorkerPorts({ config, log }: AppCore, health: Health, metrics: PortRoutes): Promise<readonly OpenPort[]> {
  const { workerHealthPort, workerMetricsPort } = config
  const wanted = [
    ...(workerHealthPort === null ? [] : [{ address: workerHealthPort, routes: healthRoutes(health) }]),
    ...(workerMetricsPort === null ? [] : [{ address: workerMetricsPort, routes: metrics }]),
  ]
  if (wanted.length === 0) return []
  const { openPorts } = await import('./http-port.js')
  const open = await openPorts(wanted)
  for (const { url } of open) log.info({ url }, `listening on ${url}`)
  return open
}
