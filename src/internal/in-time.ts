import type { Clock, Timer } from './clock.js'

/** Waits for the work, but no longer than `ms`; then throws what `late` makes. The work goes on, and what comes of it then is nobody's. */
export async function inTime<T>(clock: Clock, ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: Timer | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = clock.setTimer(ms, () => reject(late()), { keepAlive: true })
  })
  try {
    return await Promise.race([work, deadline])
  } finally {
    timer?.cancel()
  }
}
