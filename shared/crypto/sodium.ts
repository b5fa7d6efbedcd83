/**
 * The one door to libsodium (WebAssembly). Everything else imports from here, so that a native provider can take
 * its place later. Top-level await: whoever imports this module gets a library that is ready.
 */
import sodium from 'libsodium-wrappers';

await sodium.ready;

export { sodium };
