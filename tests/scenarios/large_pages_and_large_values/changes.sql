update files set body = zeroblob(12000000) where path = 'a';
insert into files values ('d', null, hex(randomblob(300000)));
insert into log (line) values (hex(randomblob(30000)));
-- then
insert into files select 'n' || path, body, text_ from files where path <> 'a';
delete from files where path = 'b';
