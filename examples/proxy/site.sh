#!/bin/sh
# What the example has for a route: asks the stack behind it, and hands the answer on.
printf 'Content-Type: text/plain\r\n\r\n'
exec wget -q -O- http://site:8080/
