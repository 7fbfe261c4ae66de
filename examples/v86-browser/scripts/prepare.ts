import { GUEST_FILES, makeGuestFiles } from './guest-files.ts';

const reason = await makeGuestFiles();
if (reason === undefined) console.log(`the page's guest is in ${GUEST_FILES}`);
else {
  console.error(reason);
  process.exitCode = 1;
}
