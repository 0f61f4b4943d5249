import { Celeriac } from 'celeriac'

export const app = new Celeriac('shop', {
  broker: 'redis://localhost:6379/0',
  taskDefaultQueue: 'node',
  taskRoutes: { 'python.*': 'python' },
})

export const slug = app.task('node.slug', { params: ['title', 'separator'] }, (title: string, separator?: string) =>
  title.toLowerCase().replaceAll(/[^a-z0-9]+/g, separator ?? '-'),
)
