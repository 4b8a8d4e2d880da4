// For programs in other languages: prints the address somebody comes back at who is sent to this one.
import { person } from "./person.mjs";

console.log(String(await person(process.argv[2])));
