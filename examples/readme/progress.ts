import { resizePhotos } from './shop.ts'

// region events
const album = await resizePhotos.delay(['one.jpg', 'two.jpg', 'three.jpg'])
for await (const { state, meta } of album.events()) {
  console.log(state, meta) // PROGRESS { current: 1, total: 3, photo: 'two.jpg' } … SUCCESS 3
}
// endregion
