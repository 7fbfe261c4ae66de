console.log('read-stream');
