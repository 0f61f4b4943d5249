import { Celeriac } from 'celeriac'
import { z } from 'zod'

export const app = new Celeriac('shop')

// region retry
export const fetchPage = app.task(
  'pages.fetch',
  { bind: true, autoretryFor: [TypeError], retryBackoff: true, maxRetries: 5 },
  async (self, url: string) => {
    const response = await fetch(url, { signal: self.signal }) // throws a TypeError when the network fails
    if (response.status === 429) self.retry({ countdown: Number(response.headers.get('retry-after') ?? 5) })
    return response.text()
  },
)
// endregion

// region progress
export const resizePhotos = app.task('photos.resize', { bind: true }, async (self, photos: string[]) => {
  for (const [done, photo] of photos.entries()) {
    await self.progress(done, photos.length, { photo })
    await resize(photo)
  }
  return photos.length
})
// endregion

// region schema
export const sendEmail = app.task(
  'mail.send',
  {
    kwargs: z.object({ to: z.email(), subject: z.string().default('Welcome') }),
    queue: 'mail',
    softTimeLimit: '30s',
  },
  async ({ to, subject }, ctx) => {
    ctx.log.info(`sending to ${to}`)
    return `${subject} → ${to}`
  },
)
// endregion

export async function signUp(email: string): Promise<void> {
  await sendEmail.delay({ to: email })
  await sendEmail.applyAsync({ to: email, subject: 'How is it going?' }, { countdown: '3d' })
}

async function resize(_photo: string): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20))
}
